/** END_SIGNAL of init/report.h: to a PID 1 that is to collect artifacts, kill all but yourself. */
export const END_SIGNAL = 64;
