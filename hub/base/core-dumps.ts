/** Keeps memory out of core dumps. In a file of its own, because every session's shim loads it. */
import { writeFileSync } from 'node:fs'

/** No memory of this process or its children goes into a core dump, not even into one that is piped to a program (fault F15). */
export function keepMemoryIn(): void {
  try {
    writeFileSync('/proc/self/coredump_filter', '0x0')
  } catch {
    // A kernel without core dumps has no such file.
  }
}
