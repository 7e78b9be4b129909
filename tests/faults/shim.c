/* Preloaded before libc: counts the file operations under one folder and lets one of them go wrong.

   FAULT_FOLDER  the folder; operations on other paths pass uncounted
   FAULT_LOG     a file that gets a line for each operation counted

   fault_arm(mode, number): from now on, at operation `number` (from 1),
     0 nothing   1 SIGKILL before it   2 a write stops half-way, then SIGKILL   3 "no space left"
   fault_count(): operations counted since. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NOTHING, KILL, TORN, FULL };
static int mode, number, counted;

void fault_arm(int new_mode, int new_number) { mode = new_mode; number = new_number; counted = 0; }
int fault_count(void) { return counted; }

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static int inside(const char *path) {
    const char *folder = getenv("FAULT_FOLDER");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return inside(path);
}

static const char *absolute(int folder, const char *path, char *whole) {
    if (path[0] == '/' || folder == AT_FDCWD) return path;
    if (!path_of(folder, whole)) return path;
    strncat(whole, "/", PATH_MAX - strlen(whole) - 1);
    strncat(whole, path, PATH_MAX - strlen(whole) - 1);
    return whole;
}

/* Whether this operation goes wrong; a kill does not come back. */
static int strikes(const char *what, const char *path) {
    counted++;
    const char *log = getenv("FAULT_LOG");
    if (log && !mode) {
        FILE *stream = fopen(log, "a");
        if (stream) { fprintf(stream, "%s %s\n", what, path); fclose(stream); }
    }
    if (!mode || counted != number) return 0;
    if (mode == KILL || (mode == TORN && strcmp(what, "write"))) kill(getpid(), SIGKILL);
    return 1;
}

static int full(void) { errno = ENOSPC; return -1; }

static int opened(const char *name, const char *path, int flags, mode_t bits) {
    REAL(int, "open", const char *, int, ...);
    (void)name;
    if (inside(path) && (flags & (O_CREAT | O_TRUNC)) && strikes("open", path)) return full();
    return real(path, flags, bits);
}
#define BITS(flags) \
    mode_t bits = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list more; va_start(more, flags); bits = va_arg(more, mode_t); va_end(more); }

int open(const char *path, int flags, ...) { BITS(flags) return opened("open", path, flags, bits); }
int open64(const char *path, int flags, ...) { BITS(flags) return opened("open", path, flags, bits); }

static int opened_at(int folder, const char *path, int flags, mode_t bits) {
    REAL(int, "openat", int, const char *, int, ...);
    char whole[PATH_MAX];
    const char *name = absolute(folder, path, whole);
    if (inside(name) && (flags & (O_CREAT | O_TRUNC)) && strikes("open", name)) return full();
    return real(folder, path, flags, bits);
}
int openat(int folder, const char *path, int flags, ...) {
    BITS(flags) return opened_at(folder, path, flags, bits); }
int openat64(int folder, const char *path, int flags, ...) {
    BITS(flags) return opened_at(folder, path, flags, bits); }

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    char path[PATH_MAX];
    if (path_of(fd, path) && strikes("write", path)) {
        if (mode == FULL) return full();
        real(fd, data, size / 2);
        kill(getpid(), SIGKILL);
    }
    return real(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    char path[PATH_MAX];
    if (path_of(fd, path) && strikes("write", path)) {
        if (mode == FULL) return full();
        real(fd, parts, count / 2);
        kill(getpid(), SIGKILL);
    }
    return real(fd, parts, count);
}

#define ON_FD(result, name) \
    result name(int fd) { \
        REAL(result, #name, int); \
        char path[PATH_MAX]; \
        if (path_of(fd, path) && strikes("fsync", path)) return full(); \
        return real(fd); }
ON_FD(int, fsync)
ON_FD(int, fdatasync)

int rename(const char *old, const char *new) {
    REAL(int, "rename", const char *, const char *);
    char both[2 * PATH_MAX];
    snprintf(both, sizeof both, "%s -> %s", old, new);
    if (inside(new) && strikes("rename", both)) return full();
    return real(old, new);
}

int renameat(int a, const char *old, int b, const char *new) {
    REAL(int, "renameat", int, const char *, int, const char *);
    if (inside(new) && strikes("rename", new)) return full();
    return real(a, old, b, new);
}

int mkdir(const char *path, mode_t bits) {
    REAL(int, "mkdir", const char *, mode_t);
    if (inside(path) && strikes("mkdir", path)) return full();
    return real(path, bits);
}

int mkdirat(int folder, const char *path, mode_t bits) {
    REAL(int, "mkdirat", int, const char *, mode_t);
    char whole[PATH_MAX];
    const char *name = absolute(folder, path, whole);
    if (inside(name) && strikes("mkdir", name)) return full();
    return real(folder, path, bits);
}

/* What takes something away never lacks space. */
#define REMOVES(name) \
    int name(const char *path) { \
        REAL(int, #name, const char *); \
        if (inside(path) && mode != FULL) strikes("remove", path); \
        return real(path); }
REMOVES(unlink)
REMOVES(rmdir)

int unlinkat(int folder, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    char whole[PATH_MAX];
    const char *name = absolute(folder, path, whole);
    if (inside(name) && mode != FULL) strikes("remove", name);
    return real(folder, path, flags);
}
