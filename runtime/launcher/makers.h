// The launcher's side of its makers: a queue of jobs, and who does them. Jobs on a run's path go first, and two makers are kept
// for them, so that refilling and clearing away never stand before a run.

#pragma once
#include "jobs.h"

enum { MAKERS = 4, MAKERS_KEPT = 2 };

struct task {
    struct job *job; // Owned; freed after DONE.
    size_t bytes;
    int descriptors[JOB_DESCRIPTORS]; // Go with the job; -1 for none. Owned.
    bool urgent;
    unsigned lost;   // How many makers were lost at it.
    // DESCRIPTORS are those of a blank, or all -1; they are the callee's. Called once, also for a job whose maker is lost.
    void (*done)(struct task *task, const struct job_result *result, int descriptors[BLANK_DESCRIPTORS]);
    void *owner;
    struct task *next;
};

// CONTEXT must stay. To be called once, before there is anything that a maker should not inherit.
void makers_start(const struct maker_context *context);
// NAME is the blank's. NULL when there is no memory.
struct task *task_new(enum job_kind kind, const char *name, size_t layer_bytes);
// For a task that is not submitted after all.
void task_free(struct task *task);
void makers_submit(struct task *task);
// Each second: starts makers that could not be started when they were lost.
void makers_tick(void);
// Kills those that are left. For the end of the launcher.
void makers_stop(void);
