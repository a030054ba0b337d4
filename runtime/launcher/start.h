// From a blank to a program that runs: the beginning of a sandbox's life, for sandbox.c.

#pragma once
#include "sandbox.h"

// Of a sandbox that has a blank and its RUN frame.
void start_sandbox(struct sandbox *sandbox);
// What PID 1 has said, as far as it is to be believed.
void start_read_reports(struct sandbox *sandbox);
