/* The first process of a container with --init: it starts the program, forwards signals to it,
 * reaps what is left behind by others, and ends as the program ends.
 *
 * No libc: it must run in any image and cost a few pages. Its argv is ["/sbin/docker-init", "--",
 * the program's argv]; the last variable of its environment, which the program does not get, is
 * "_=" and the program's path. Built by scripts/build_init.py into src/ketch/runtime/init_program.py.
 */

#if defined(__x86_64__)
enum { WRITE = 1, IOCTL = 16, SIGPROCMASK = 14, GETPID = 39, CLONE = 56, EXECVE = 59, EXIT = 231,
       WAIT4 = 61, KILL = 62, SETPGID = 109, SIGTIMEDWAIT = 128, PRCTL = 157 };

static long call(long number, long a, long b, long c, long d)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = 0;
    __asm__ volatile("syscall" : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

__asm__(".globl _start\n_start:\n  xor %ebp, %ebp\n  mov %rsp, %rdi\n  and $-16, %rsp\n  call begin\n");
#elif defined(__aarch64__)
enum { WRITE = 64, IOCTL = 29, SIGPROCMASK = 135, GETPID = 172, CLONE = 220, EXECVE = 221, EXIT = 94,
       WAIT4 = 260, KILL = 129, SETPGID = 154, SIGTIMEDWAIT = 137, PRCTL = 167 };

static long call(long number, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
}

__asm__(".globl _start\n_start:\n  mov x0, sp\n  bl begin\n");
#else
#error "no system calls known for this architecture"
#endif

enum { SIGILL = 4, SIGTRAP = 5, SIGABRT = 6, SIGBUS = 7, SIGFPE = 8, SIGKILL = 9, SIGSEGV = 11,
       SIGCHLD = 17, SIGSYS = 31, SIG_SETMASK = 2, WNOHANG = 1, ENOENT = 2, EINTR = 4,
       PR_SET_PDEATHSIG = 1, PR_SET_NAME = 15, PR_SET_CHILD_SUBREAPER = 36, TIOCSPGRP = 0x5410 };

#define BIT(signal) (1ul << ((signal)-1))

static void say(const char *text)
{
    long length = 0;
    while (text[length])
        length++;
    call(WRITE, 2, (long)text, length, 0);
}

/* The program, in a process group of its own, which gets the terminal if there is one. */
static void become(char **argv, char **envp, char *path, unsigned long *mask)
{
    int self = (int)call(GETPID, 0, 0, 0, 0);
    call(SETPGID, 0, 0, 0, 0);
    call(IOCTL, 0, TIOCSPGRP, (long)&self, 0);
    call(PRCTL, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
    call(SIGPROCMASK, SIG_SETMASK, (long)mask, 0, 8);
    long error = call(EXECVE, (long)path, (long)argv, (long)envp, 0);
    say("init: cannot execute ");
    say(path);
    say(error == -ENOENT ? ": no such file or directory\n" : "\n");
    call(EXIT, error == -ENOENT ? 127 : 126, 0, 0, 0);
}

/* Reaps whoever has ended; ends with the program. */
static void reap(long program)
{
    int status, code = -1;
    for (;;) {
        long pid = call(WAIT4, -1, (long)&status, WNOHANG, 0);
        if (pid <= 0)
            break;
        if (pid == program)
            code = status & 0x7f ? 128 + (status & 0x7f) : (status >> 8) & 0xff;
    }
    if (code >= 0)
        call(EXIT, code, 0, 0, 0);
}

__attribute__((noreturn, used)) void begin(long *stack)
{
    char **argv = (char **)(stack + 1), **envp = argv + stack[0] + 1, **last = envp;
    unsigned long before, waited = ~(BIT(SIGILL) | BIT(SIGTRAP) | BIT(SIGABRT) | BIT(SIGBUS) |
                                     BIT(SIGFPE) | BIT(SIGSEGV) | BIT(SIGSYS));
    while (last[1])
        last++;
    char *path = *last + 2;
    *last = 0;
    call(PRCTL, PR_SET_NAME, (long)"docker-init", 0, 0);
    if (call(GETPID, 0, 0, 0, 0) != 1)
        call(PRCTL, PR_SET_CHILD_SUBREAPER, 1, 0, 0);
    call(SIGPROCMASK, SIG_SETMASK, (long)&waited, (long)&before, 8);
    long program = call(CLONE, SIGCHLD, 0, 0, 0);
    if (program < 0) {
        say("init: cannot fork\n");
        call(EXIT, 128, 0, 0, 0);
    }
    if (program == 0)
        become(argv + 2, envp, path, &before);
    for (;;) {
        long signal = call(SIGTIMEDWAIT, (long)&waited, 0, 0, 8);
        if (signal == SIGCHLD)
            reap(program);
        else if (signal > 0)
            call(KILL, program, signal, 0, 0);
    }
}
