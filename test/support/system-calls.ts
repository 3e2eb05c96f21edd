/**
 * Which system calls of the shipped profile exist on which machine, as libseccomp 2.5.4 knows them (`scmp_sys_resolver -a x86_64` and
 * `-a aarch64`). Where that program is at hand, a test asks it again.
 */

const words = (text: string): string[] => text.trim().split(/\s+/)

/** On x86-64 and on AArch64, under one name. */
export const ON_BOTH = words(`
  accept accept4 adjtimex bind brk capget capset chdir clock_adjtime clock_getres clock_gettime clock_nanosleep close
  close_range connect copy_file_range dup dup3 epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 eventfd2 execve execveat exit
  exit_group faccessat faccessat2 fadvise64 fallocate fanotify_mark fchdir fchmod fchmodat fchown fchownat fcntl fdatasync
  fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex futex_waitv getcpu getcwd getdents64
  getegid geteuid getgid getgroups getitimer getpeername getpgid getpid getppid getpriority getrandom getresgid getresuid
  getrlimit get_robust_list getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr inotify_add_watch
  inotify_init1 inotify_rm_watch ioctl ioprio_get ioprio_set
  kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lgetxattr linkat listen listxattr llistxattr
  lremovexattr lseek lsetxattr madvise membarrier mincore mkdirat mknodat mlock mlock2 mlockall mmap mprotect mremap
  msync munlock munlockall munmap nanosleep newfstatat openat openat2 pidfd_open pidfd_send_signal pipe2
  ppoll prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pwrite64 pwritev pwritev2 read readahead readlinkat
  readv recvfrom recvmmsg recvmsg remap_file_pages removexattr renameat renameat2 restart_syscall rseq rt_sigaction
  rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_getaffinity
  sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval
  sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp sendfile
  sendmmsg sendmsg sendto setfsgid setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid
  setrlimit set_robust_list setsid setsockopt set_tid_address setuid setxattr shutdown sigaltstack
  signalfd4 splice statfs statx symlinkat sync sync_file_range syncfs sysinfo tee tgkill timer_create timer_delete
  timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill truncate umask uname
  unlinkat utimensat vmsplice wait4 waitid write writev personality open_by_handle_at clone clone3 fanotify_init fsconfig
  fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount name_to_handle_at open_tree quotactl quotactl_fd
  setdomainname sethostname setns syslog umount2 unshare reboot chroot delete_module init_module finit_module acct kcmp
  pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace settimeofday clock_settime vhangup get_mempolicy mbind
  set_mempolicy socket socketpair
`)

/** On x86-64 alone, each with the call that does its work on AArch64; none where that machine has nothing of the kind. */
export const ON_X64_ALONE: Readonly<Record<string, string>> = {
  access: 'faccessat',
  alarm: 'setitimer',
  chmod: 'fchmodat',
  chown: 'fchownat',
  creat: 'openat',
  dup2: 'dup3',
  epoll_create: 'epoll_create1',
  epoll_ctl_old: 'epoll_ctl',
  epoll_wait: 'epoll_pwait',
  epoll_wait_old: 'epoll_pwait',
  eventfd: 'eventfd2',
  fork: 'clone',
  futimesat: 'utimensat',
  getdents: 'getdents64',
  getpgrp: 'getpgid',
  get_thread_area: '',
  inotify_init: 'inotify_init1',
  lchown: 'fchownat',
  link: 'linkat',
  lstat: 'newfstatat',
  mkdir: 'mkdirat',
  mknod: 'mknodat',
  open: 'openat',
  pause: 'ppoll',
  pipe: 'pipe2',
  poll: 'ppoll',
  readlink: 'readlinkat',
  rename: 'renameat',
  rmdir: 'unlinkat',
  select: 'pselect6',
  set_thread_area: '',
  signalfd: 'signalfd4',
  stat: 'newfstatat',
  symlink: 'symlinkat',
  time: 'clock_gettime',
  unlink: 'unlinkat',
  utime: 'utimensat',
  utimes: 'utimensat',
  vfork: 'clone',
  arch_prctl: '',
  iopl: '',
  ioperm: '',
}

/** On neither: 32-bit forms, other machines' own, and names that the filter library alone knows. A rule for one of them is passed over. */
export const ON_NEITHER = words(`
  chown32 clock_adjtime64 clock_getres_time64 clock_gettime64 clock_nanosleep_time64 fadvise64_64 fchown32 fcntl64 fstat64
  fstatat64 fstatfs64 ftruncate64 futex_time64 getegid32 geteuid32 getgid32 getgroups32 getresgid32 getresuid32 getuid32
  lchown32 _llseek lstat64 mmap2 _newselect ppoll_time64 pselect6_time64 recv recvmmsg_time64
  rt_sigtimedwait_time64 sched_rr_get_interval_time64 send sendfile64 setfsgid32 setfsuid32 setgid32
  setgroups32 setregid32 setresgid32 setresuid32 setreuid32 setuid32 sigprocmask sigreturn stat64 statfs64 timer_gettime64
  timer_settime64 timerfd_gettime64 timerfd_settime64 truncate64 ugetrlimit utimensat_time64 waitpid sync_file_range2
  arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr
  umount stime
`)
