"""The default profile, as data: Docker's allow list, so that images behave.

Everything that is not named fails with EPERM. Left out on purpose: io_uring (its operations pass
no filter), keyrings and userfaultfd (not namespaced, used in many exploits), swap, kexec, new
namespaces, and whatever concerns the machine and not the container.
"""

from __future__ import annotations

from ketch.runtime.seccomp.numbers import native_architectures
from ketch.runtime.seccomp.rules import ALLOW, ENOSYS, EPERM, ERRNO, Condition, Op, Profile, Rule

# "32" and "64" at the end of a name: the wide variants of 32-bit ABIs. "time64": since Linux 5.1.
_ALWAYS = """
    execve execveat exit exit_group fork vfork wait4 waitid waitpid restart_syscall
    getpid getppid gettid getpgid getpgrp setpgid getsid setsid set_tid_address
    get_robust_list set_robust_list get_thread_area set_thread_area arch_prctl modify_ldt rseq
    prctl seccomp getcpu membarrier pidfd_open pidfd_send_signal process_mrelease
    ptrace process_vm_readv process_vm_writev
    uname sysinfo times getrusage getrlimit ugetrlimit setrlimit prlimit64
    landlock_create_ruleset landlock_add_rule landlock_restrict_self uretprobe

    getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32
    getresuid getresuid32 getresgid getresgid32 getgroups getgroups32
    setuid setuid32 setreuid setreuid32 setresuid setresuid32 setfsuid setfsuid32
    setgid setgid32 setregid setregid32 setresgid setresgid32 setfsgid setfsgid32
    setgroups setgroups32 capget capset

    kill tkill tgkill rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
    rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack
    sigprocmask sigreturn signalfd signalfd4 pause alarm

    sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam
    sched_setparam sched_getscheduler sched_setscheduler sched_get_priority_max
    sched_get_priority_min sched_rr_get_interval sched_rr_get_interval_time64
    getpriority setpriority ioprio_get ioprio_set

    time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64
    clock_nanosleep clock_nanosleep_time64 nanosleep adjtimex clock_adjtime clock_adjtime64
    getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
    timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64
    timerfd_settime timerfd_settime64

    brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 mlockall munlock
    munlockall mseal remap_file_pages memfd_create memfd_secret map_shadow_stack
    pkey_alloc pkey_free pkey_mprotect

    futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue
    ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64
    shmat shmctl shmdt shmget mq_open mq_unlink mq_notify mq_getsetattr
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64

    open openat openat2 creat close close_range dup dup2 dup3 fcntl fcntl64 flock ioctl
    pipe pipe2 eventfd eventfd2 memfd_create umask

    read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek _llseek
    sendfile sendfile64 splice tee vmsplice copy_file_range readahead fadvise64 fadvise64_64
    cachestat fallocate truncate truncate64 ftruncate ftruncate64
    sync syncfs fsync fdatasync sync_file_range
    io_setup io_submit io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64

    poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait
    epoll_pwait2 inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark

    stat stat64 fstat fstat64 lstat lstat64 newfstatat fstatat64 statx
    statfs statfs64 fstatfs fstatfs64 statmount listmount
    access faccessat faccessat2 chmod fchmod fchmodat fchmodat2
    chown chown32 fchown fchown32 fchownat lchown lchown32
    utime utimes utimensat utimensat_time64 futimesat
    getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat
    listxattr llistxattr flistxattr listxattrat
    removexattr lremovexattr fremovexattr removexattrat

    getcwd chdir fchdir getdents getdents64 mkdir mkdirat rmdir mknod mknodat
    link linkat symlink symlinkat readlink readlinkat rename renameat renameat2 unlink unlinkat
    name_to_handle_at

    socketpair bind listen accept accept4 connect shutdown getsockname getpeername
    getsockopt setsockopt send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg
    recvmmsg_time64 socketcall getrandom

    arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls
"""

# What a capability opens; the kernel checks it again.
_WITH_CAPABILITY = {
    "CAP_SYS_ADMIN": """
        mount umount umount2 mount_setattr move_mount open_tree fsopen fspick fsconfig fsmount
        clone clone3 unshare setns sethostname setdomainname
        bpf perf_event_open fanotify_init quotactl quotactl_fd lookup_dcookie syslog
        lsm_get_self_attr lsm_set_self_attr lsm_list_modules
    """,
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "CAP_SYS_MODULE": "init_module finit_module delete_module",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "CAP_SYS_NICE": "get_mempolicy set_mempolicy mbind set_mempolicy_home_node",
    "CAP_SYS_RAWIO": "iopl ioperm",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_BPF": "bpf",
    "CAP_PERFMON": "perf_event_open",
}

# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
_NAMESPACE_FLAGS = 0x7E020000

# PER_LINUX, PER_LINUX32, both with UNAME26, and the question what it is.
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

# Families of address (linux/socket.h) that are refused: those that nothing uses but attacks
# (DECnet 12, Econet 19, ATM SVC 20, IrDA 23, WANPIPE 25, ISDN 34, CAIF 37), the kernel's
# cryptography (AF_ALG 38, CVE-2026-31431) and the host of virtual machines (AF_VSOCK 40). The
# others are listed one by one: "more than 40" would let through 38 with a high bit set, which the
# kernel cuts off, as the family is an int.
_REFUSED_FAMILIES = frozenset((12, 19, 20, 23, 25, 34, 37, 38, 40))
_FAMILIES = tuple(family for family in range(46) if family not in _REFUSED_FAMILIES)
_SYS_SOCKET = 1  # the first call of socketcall(2), linux/net.h


def default_profile(capabilities: frozenset[str]) -> Profile:
    """The default for a container with these effective capabilities (``CAP_…``)."""
    rules = [Rule(tuple(dict.fromkeys(_ALWAYS.split())), ALLOW)]
    rules += [
        Rule(tuple(names.split()), ALLOW)
        for capability, names in _WITH_CAPABILITY.items()
        if capability in capabilities
    ]
    if "CAP_SYS_ADMIN" not in capabilities:
        rules += _threads_only()
    rules += [*_sockets(), *(_equal("personality", value) for value in _PERSONALITIES)]
    return Profile(ERRNO | EPERM, native_architectures(), tuple(rules))


def _threads_only() -> list[Rule]:
    """Processes and threads, no namespaces; clone3's flags are in memory: use clone instead."""
    flags = Condition(0, Op.MASKED_EQ, 0, _NAMESPACE_FLAGS)
    return [Rule(("clone",), ALLOW, (flags,)), Rule(("clone3",), ERRNO | ENOSYS)]


def _sockets() -> list[Rule]:
    """Known families alone; not by socketcall(2), which hides the family in memory."""
    first = Condition(0, Op.LT, min(_REFUSED_FAMILIES))
    multiplexed = Condition(0, Op.MASKED_EQ, _SYS_SOCKET, 0xFFFFFFFF)
    return [
        Rule(("socketcall",), ERRNO | ENOSYS, (multiplexed,)),
        Rule(("socket",), ALLOW, (first,)),
        *(_equal("socket", family) for family in _FAMILIES if family > min(_REFUSED_FAMILIES)),
    ]


def _equal(name: str, value: int) -> Rule:
    return Rule((name,), ALLOW, (Condition(0, Op.EQ, value),))
