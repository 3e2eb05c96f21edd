/*
 * Preloaded into the hub by tests: the Nth call of one kind on one file fails with one errno, once or from then on.
 * FAULT_ARM: counting begins once this file is there; from the start without it.
 * FAULT_FILE: part of the file's path. FAULT_CALL: sync or write. FAULT_NTH: which. FAULT_ERRNO: its number. FAULT_MARK: a file made when it fired.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int seen = 0;

static int fails(int fd, const char *kind) {
  const char *call = getenv("FAULT_CALL"), *file = getenv("FAULT_FILE"), *nth = getenv("FAULT_NTH");
  if (!call || !file || !nth || strcmp(call, kind) != 0) return 0;
  const char *arm = getenv("FAULT_ARM");
  if (arm && access(arm, F_OK) != 0) return 0;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  if (!strstr(path, file)) return 0;
  if (__sync_add_and_fetch(&seen, 1) != atoi(nth)) return 0;
  const char *mark = getenv("FAULT_MARK");
  if (mark) {
    int made = open(mark, O_CREAT | O_WRONLY, 0600);
    if (made >= 0) close(made);
  }
  const char *number = getenv("FAULT_ERRNO");
  errno = number ? atoi(number) : EIO;
  return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) { return fails(fd, "sync") ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return fails(fd, "sync") ? -1 : REAL(fdatasync)(fd); }
ssize_t write(int fd, const void *from, size_t size) { return fails(fd, "write") ? -1 : REAL(write)(fd, from, size); }
ssize_t pwrite(int fd, const void *from, size_t size, off_t at) {
  return fails(fd, "write") ? -1 : REAL(pwrite)(fd, from, size, at);
}
ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) {
  return fails(fd, "write") ? -1 : REAL(pwrite64)(fd, from, size, at);
}
