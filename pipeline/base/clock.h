#ifndef FMFORGE_BASE_CLOCK_H
#define FMFORGE_BASE_CLOCK_H

/* Times. No time may reach an output of a stage. */

#include <stdint.h>
#include <sys/time.h>

/* Milliseconds: monotonic, for durations, and Unix time, for records. */
double clock_ms(void);
long long clock_unix_ms(void);
double clock_seconds(struct timeval t);
/* "2026-01-02T03:04:05.006Z" into out; returns it. From 1970 to 9999. */
char *clock_text(int64_t unix_ms, char out[25]);

#endif
