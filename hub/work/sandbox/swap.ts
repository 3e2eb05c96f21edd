/**
 * Memory without swap on a kernel that does not count swap (fault A9; cgroup v1 without `swapaccount=1`, as on many rented servers).
 *
 * The engine then warns at create, and turns MemorySwap into -1. On a machine without any swap that is no difference: nothing can be
 * swapped out, so memory is bounded as it should be. With swap it stays a difference, and the canary names the kernel's switch.
 */
import type { Difference } from './compare.ts'
import { swapBytesOf } from './machine.ts'

const WARNING = /does not support swap limit/i

/** Whether this machine has swap now. It may be switched on while sessions run, and then counts at the next look. */
export const hasSwap = (): boolean => swapBytesOf() > 0

/** The warnings of a create that say more than that swap is not counted. */
export const warningsBesideSwap = (warnings: readonly string[], swap: () => boolean): string[] =>
  warnings.filter((warning) => !WARNING.test(warning) || swap())

/** The differences, without an unlimited swap on a machine that has none. */
export const differencesBesideSwap = (differences: readonly Difference[], swap: () => boolean): Difference[] =>
  differences.filter(({ field, found }) => field !== 'HostConfig.MemorySwap' || found !== -1 || swap())
