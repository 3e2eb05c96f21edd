/**
 * What has changed in the operator's data since it was last recorded (S1-13, fault C12). The audit log names the difference, not only that
 * the data was read, even if the file was changed by hand while the hub was down.
 */
import type { Meta } from '../../store/meta.ts'
import type { Policy } from './bundle.ts'
import { differenceOf, type PolicyData, policyDataShape } from './data.ts'

const LINES_MAX = 40
const TEXT_MAX = 2000

export interface PolicyChanges {
  /** The difference from what was recorded last, as one text for an audit record; undefined if there is none, or nothing was recorded yet. */
  sinceRecorded(): string | undefined
  /** Records what is in force now, inside the transaction of the record that names the difference. */
  record(): void
}

export function createPolicyChanges(parts: {
  policy: Pick<Policy, 'active'>
  meta: Pick<Meta, 'get' | 'set'>
}): PolicyChanges {
  const { policy, meta } = parts

  function recorded(): PolicyData | undefined {
    const text = meta.get('policy_data')
    if (text === undefined) return undefined
    try {
      // Read by today's shape: data of an earlier version gets the defaults of keys that came later.
      return policyDataShape.parse(JSON.parse(text))
    } catch {
      return undefined
    }
  }
  return {
    sinceRecorded() {
      const { data } = policy.active()
      const before = recorded()
      if (data === undefined || before === undefined) return undefined
      const lines = differenceOf(before, data)
      if (lines.length === 0) return undefined
      const more = lines.length > LINES_MAX ? [`and ${lines.length - LINES_MAX} more`] : []
      return [...lines.slice(0, LINES_MAX), ...more].join('; ').slice(0, TEXT_MAX)
    },
    record() {
      const { data } = policy.active()
      if (data !== undefined) meta.set('policy_data', JSON.stringify(data))
    },
  }
}
