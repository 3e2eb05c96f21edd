/**
 * A static program for Linux on x86-64 that makes raw system calls, written here byte by byte: JavaScript cannot make them, and a
 * compiler may not be there. It reads records of 512 bytes (number, six arguments, ABI, 448 bytes of data that arguments may point to),
 * makes the call and answers with eight bytes, the result; it ends with its input. ABI 1 is the 32-bit entry, `int 0x80`.
 */

/** Where a record stands in the helper's memory; below 4 GiB, for the 32-bit entry. */
const RECORD_AT = 0x600000
const CODE_AT = 0x400000
const HEAD_BYTES = 64 + 2 * 56

const CODE = `
  31ff          # start: xor edi, edi
  be00006000    # mov esi, RECORD
  ba00020000    # mov edx, 512
  31c0          # xor eax, eax           read
  0f05          # syscall
  3d00020000    # cmp eax, 512
  755e          # jne end
  bd00006000    # mov ebp, RECORD
  488b4500      # mov rax, [rbp]
  48837d3800    # cmp qword [rbp+56], 0
  751a          # jne old
  488b7d08      # mov rdi, [rbp+8]
  488b7510      # mov rsi, [rbp+16]
  488b5518      # mov rdx, [rbp+24]
  4c8b5520      # mov r10, [rbp+32]
  4c8b4528      # mov r8, [rbp+40]
  4c8b4d30      # mov r9, [rbp+48]
  eb18          # jmp call               (over the old entry, to syscall below)
  488b5d08      # old: mov rbx, [rbp+8]
  488b4d10      # mov rcx, [rbp+16]
  488b5518      # mov rdx, [rbp+24]
  488b7520      # mov rsi, [rbp+32]
  488b7d28      # mov rdi, [rbp+40]
  cd80          # int 0x80
  eb02          # jmp done
  0f05          # call: syscall
  48894500      # done: mov [rbp], rax
  bf01000000    # mov edi, 1
  4889ee        # mov rsi, rbp
  ba08000000    # mov edx, 8
  b801000000    # mov eax, 1             write
  0f05          # syscall
  eb8b          # jmp start
  31ff          # end: xor edi, edi
  b83c000000    # mov eax, 60            exit
  0f05          # syscall
`

/** The whole file: an ELF head, one segment of code, one of memory that is zero. */
export function rawCallsProgram(): Buffer {
  const code = Buffer.from(CODE.replaceAll(/#.*|\s/g, ''), 'hex')
  const head = Buffer.alloc(HEAD_BYTES)
  head.write('7f454c460201010000000000000000000200' + '3e00' + '01000000', 'hex')
  head.writeBigUInt64LE(BigInt(CODE_AT + HEAD_BYTES), 24)
  head.writeBigUInt64LE(64n, 32)
  // Sizes of this head and of a segment's, and how many segments.
  for (const [at, value] of [
    [52, 64],
    [54, 56],
    [56, 2],
  ] as const)
    head.writeUInt16LE(value, at)
  const size = HEAD_BYTES + code.length
  segment(head.subarray(64), { flags: 5, at: CODE_AT, fileBytes: size, memoryBytes: size })
  segment(head.subarray(120), { flags: 6, at: RECORD_AT, fileBytes: 0, memoryBytes: 4096 })
  return Buffer.concat([head, code])
}

function segment(into: Buffer, of: { flags: number; at: number; fileBytes: number; memoryBytes: number }): void {
  into.writeUInt32LE(1, 0)
  into.writeUInt32LE(of.flags, 4)
  for (const [index, value] of [0, of.at, of.at, of.fileBytes, of.memoryBytes, 4096].entries())
    into.writeBigUInt64LE(BigInt(value), 8 + 8 * index)
}
