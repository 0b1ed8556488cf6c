# The two routines of ketch.linux.machine_code, x86-64: they make a list of system calls.
#   as script.s -o script.o && objcopy -O binary -j .text script.o script.bin
#
# A call is nine words: number, six arguments, room for the answer, what a failure means (0 stop,
# 1 go on, 2 the next call is made only when this one fails). A negative number ends the list.
# rbx is the call at hand; a system call changes rax, rcx and r11 (syscall(2)). Nothing at or above
# the stack pointer is written to: a child of CLONE_VFORK uses the stack of its sleeping parent.
.intel_syntax noprefix
.text

# long run(list)
 push rbx
 mov rbx, rdi
 call make
 pop rbx
 ret

# long spawn(clone_args, size, list): the child's pid, or an errno below 0; the child makes the list
 push rbx
 mov rbx, rdx
 mov eax, 435                   # clone3; its arguments are where they belong
 syscall
 test rax, rax
 jz child
 pop rbx
 ret
child:
 call make
 mov edi, 127
 mov eax, 231                   # exit_group
 syscall
 ud2

make:
 mov rax, [rbx]
 test rax, rax
 js done
 mov rdi, [rbx+8]
 mov rsi, [rbx+16]
 mov rdx, [rbx+24]
 mov r10, [rbx+32]
 mov r8, [rbx+40]
 mov r9, [rbx+48]
 syscall
 mov [rbx+56], rax              # the answer
 mov rcx, [rbx+64]              # what a failure means
 lea rbx, [rbx+72]
 test rax, rax
 js failed
 cmp rcx, 2
 jne make
 lea rbx, [rbx+72]
 jmp make
failed:
 test rcx, rcx
 jne make
done:
 ret
