// stdin → hash → decompress → hash → files.

#pragma once

// Unpacks stdin into DIRECTORY, which is also the working directory, and copies it to COPY (-1 for nowhere). Answers the program's exit
// status; prints the report unless the host failed.
int unpack(int directory, int copy);
