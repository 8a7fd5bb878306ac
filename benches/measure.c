// measure REPORT COMMAND...: runs COMMAND and writes one line about it and every descendant that it waited for:
// wall seconds, user seconds, system seconds, peak resident memory of the largest process in KiB, exit status.
//
// A program of its own, because Linux counts the memory of the process that forked as the peak of the program that is
// then executed: started from Python, nothing would seem to need less than Python does.

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec / 1e6; }

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int count, char **arguments) {
    if (count < 3) {
        fprintf(stderr, "usage: measure REPORT COMMAND...\n");
        return 2;
    }
    double begun = now();
    pid_t child = fork();
    if (child < 0) {
        perror("measure: fork");
        return 2;
    }
    if (child == 0) {
        execvp(arguments[2], arguments + 2);
        perror(arguments[2]);
        _exit(127);
    }
    int status;
    struct rusage used;
    if (wait4(child, &status, 0, &used) != child) {
        perror("measure: wait4");
        return 2;
    }
    double wall = now() - begun;
    FILE *report = fopen(arguments[1], "w");
    if (report == NULL) {
        perror(arguments[1]);
        return 2;
    }
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    fprintf(report, "%.6f %.6f %.6f %ld %d\n", wall, seconds(used.ru_utime), seconds(used.ru_stime), used.ru_maxrss, code);
    return fclose(report) == 0 ? 0 : 2;
}
