# The two routines of ketch.linux.resharing, x86-64. They keep to registers and the stack, so that
# nothing of what they move changes under them.
#   as resharing.s -o resharing.o && objcopy -O binary -j .text resharing.o resharing.bin
.intel_syntax noprefix
.text

# long move(rows, count, fd): for rows of (start, length, offset), write the memory to the file and
# map the file, privately, in its place; the number of rows done
move:
 push rbx
 push r12
 push r13
 push r14
 mov rbx, rdi
 mov r12, rsi
 mov r13, rdx
 xor r14d, r14d
1: cmp r14, r12
 je 2f
 mov rdi, r13
 mov rsi, [rbx]
 mov rdx, [rbx+8]
 mov r10, [rbx+16]
 mov eax, 18                    # pwrite64
 syscall
 cmp rax, [rbx+8]
 jne 2f
 mov rdi, [rbx]
 mov rsi, [rbx+8]
 mov edx, 3                     # PROT_READ | PROT_WRITE
 mov r10d, 0x12                 # MAP_PRIVATE | MAP_FIXED
 mov r8, r13
 mov r9, [rbx+16]
 mov eax, 9                     # mmap
 syscall
 cmp rax, [rbx]
 jne 2f
 add rbx, 24
 inc r14
 jmp 1b
2: mov rax, r14
 pop r14
 pop r13
 pop r12
 pop rbx
 ret

# long share(rows, count): for rows of (page, original), drop the page if both are equal; the number
# of pages dropped
.balign 16
share:
 push rbx
 push r12
 push r13
 mov rbx, rdi
 mov r12, rsi
 xor r13d, r13d
 cld
1: test r12, r12
 jz 3f
 mov rsi, [rbx]
 mov rdi, [rbx+8]
 mov ecx, 512
 repe cmpsq
 jne 2f
 mov rdi, [rbx]
 mov esi, 4096
 mov edx, 4                     # MADV_DONTNEED
 mov eax, 28                    # madvise
 syscall
 test eax, eax
 jnz 2f
 inc r13
2: add rbx, 16
 dec r12
 jmp 1b
3: mov rax, r13
 pop r13
 pop r12
 pop rbx
 ret
