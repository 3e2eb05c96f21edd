/*
 * Preloaded by tests into a program and its children: the whole process group is killed at the Nth call that changes a file below one folder.
 * A write is done by half before, every other call not at all, so that each N leaves another state of the disk than N - 1.
 * CUT_UNDER: part of the paths that count; CUT_NOT: part of those that do not. CUT_AT: which call; 0 only counts.
 * CUT_COUNTER: a file of 8 bytes that all processes count in. CUT_ARM: counting begins once this file is there; from the start without it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static volatile long *counter(void) {
  static volatile long *shared = NULL;
  if (shared) return shared;
  const char *path = getenv("CUT_COUNTER");
  if (!path) return NULL;
  int fd = REAL(open)(path, O_RDWR);
  if (fd < 0) return NULL;
  void *found = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return shared = found == MAP_FAILED ? NULL : found;
}

/* Whether the process is to end at this call. */
static int is_cut(const char *path) {
  const char *under = getenv("CUT_UNDER"), *except = getenv("CUT_NOT"), *at = getenv("CUT_AT"), *arm = getenv("CUT_ARM");
  if (!path || !under || !at || !strstr(path, under) || (except && strstr(path, except))) return 0;
  if (arm && access(arm, F_OK) != 0) return 0;
  volatile long *count = counter();
  return count && __sync_add_and_fetch(count, 1) == atol(at);
}

static void die(void) {
  kill(0, SIGKILL);
  for (;;) pause();
}

static void cut(const char *path) {
  char whole[4096];
  if (path && path[0] != '/') {
    char here[2048];
    if (getcwd(here, sizeof here) && snprintf(whole, sizeof whole, "%s/%s", here, path) > 0) path = whole;
  }
  if (is_cut(path)) die();
}

static int is_cut_fd(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return is_cut(path);
}

#define CUT_FD(fd) \
  do { if (is_cut_fd(fd)) die(); } while (0)

ssize_t write(int fd, const void *from, size_t size) {
  if (is_cut_fd(fd)) { REAL(write)(fd, from, size / 2); die(); }
  return REAL(write)(fd, from, size);
}
ssize_t pwrite(int fd, const void *from, size_t size, off_t at) {
  if (is_cut_fd(fd)) { REAL(pwrite)(fd, from, size / 2, at); die(); }
  return REAL(pwrite)(fd, from, size, at);
}
ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) {
  if (is_cut_fd(fd)) { REAL(pwrite64)(fd, from, size / 2, at); die(); }
  return REAL(pwrite64)(fd, from, size, at);
}
ssize_t writev(int fd, const struct iovec *from, int count) { CUT_FD(fd); return REAL(writev)(fd, from, count); }
ssize_t pwritev(int fd, const struct iovec *from, int count, off_t at) { CUT_FD(fd); return REAL(pwritev)(fd, from, count, at); }
ssize_t pwritev64(int fd, const struct iovec *from, int count, off64_t at) { CUT_FD(fd); return REAL(pwritev64)(fd, from, count, at); }
ssize_t sendfile64(int to, int from, off64_t *at, size_t size) {
  static ssize_t (*real)(int, int, off64_t *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "sendfile64");
  if (is_cut_fd(to)) { real(to, from, at, size / 2); die(); }
  return real(to, from, at, size);
}
ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t size, unsigned flags) {
  if (is_cut_fd(to)) { REAL(copy_file_range)(from, from_at, to, to_at, size / 2, flags); die(); }
  return REAL(copy_file_range)(from, from_at, to, to_at, size, flags);
}
int fsync(int fd) { CUT_FD(fd); return REAL(fsync)(fd); }
int fdatasync(int fd) { CUT_FD(fd); return REAL(fdatasync)(fd); }
int ftruncate(int fd, off_t size) { CUT_FD(fd); return REAL(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { CUT_FD(fd); return REAL(ftruncate64)(fd, size); }
int fchmod(int fd, mode_t mode) { CUT_FD(fd); return REAL(fchmod)(fd, mode); }
int chmod(const char *path, mode_t mode) { cut(path); return REAL(chmod)(path, mode); }
int rename(const char *from, const char *to) { cut(to); return REAL(rename)(from, to); }
int renameat(int a, const char *from, int b, const char *to) { cut(to); return REAL(renameat)(a, from, b, to); }
int link(const char *from, const char *to) { cut(to); return REAL(link)(from, to); }
int symlink(const char *from, const char *to) { cut(to); return REAL(symlink)(from, to); }
int unlink(const char *path) { cut(path); return REAL(unlink)(path); }
int unlinkat(int dir, const char *path, int flags) {
  if (path[0] == '/') cut(path); else CUT_FD(dir);
  return REAL(unlinkat)(dir, path, flags);
}
int rmdir(const char *path) { cut(path); return REAL(rmdir)(path); }
int mkdir(const char *path, mode_t mode) { cut(path); return REAL(mkdir)(path, mode); }

#define OPEN(name)                                                        \
  int name(const char *path, int flags, ...) {                            \
    mode_t mode = 0;                                                      \
    if (flags & (O_CREAT | O_TMPFILE)) {                                  \
      va_list more;                                                       \
      va_start(more, flags);                                              \
      mode = va_arg(more, mode_t);                                        \
      va_end(more);                                                       \
    }                                                                     \
    if (flags & (O_CREAT | O_TRUNC)) cut(path);                           \
    return REAL(name)(path, flags, mode);                                 \
  }
OPEN(open)
OPEN(open64)
