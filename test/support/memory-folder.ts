/** Where a test keeps a home of which nobody takes the power away: in memory if this machine has room there, so that no commit waits for a disk. */
import { accessSync, constants, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'

const IN_MEMORY = '/dev/shm'
const TMPFS = 0x01021994
/** Far more than all tests side by side keep there. Where a container gives only 64 MiB, it is not used. */
const ROOM_BYTES = 1024 ** 3

function isRoomy(): boolean {
  try {
    accessSync(IN_MEMORY, constants.W_OK)
    const { type, bavail, bsize } = statfsSync(IN_MEMORY)
    return type === TMPFS && bavail * bsize >= ROOM_BYTES
  } catch {
    return false
  }
}

/** The folder for `mkdtemp`: `/dev/shm`, or that of temporary files. */
export const memoryFolder = (): string => (isRoomy() ? IN_MEMORY : tmpdir())
