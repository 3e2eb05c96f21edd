/** The doctor's rows of the receivers of the audit log: whether each takes what is signed (S1-64). */
import type { ForwardState } from '../../guard/forward/forwarder.ts'
import type { Check } from './doctor.ts'

const MENDS: Readonly<Record<ForwardState['kind'], string>> = {
  file: 'its path in audit.forward of hub.yaml, and the room and the rights there; the hub tries again by itself',
  syslog:
    'its host, port and caFile in audit.forward of hub.yaml, and whether the receiver runs; the hub tries again by itself',
  webhook:
    'its url and secret in audit.forward of hub.yaml, and whether the receiver runs; the hub tries again by itself',
}

/** The name of a receiver's row. */
export const forwardRow = (name: string): string => `forward ${name}`

/** Red: it is behind. Amber: its last try failed, and it may yet catch up. Pure. */
export const forwardChecks = (states: readonly ForwardState[]): Check[] =>
  states.map(({ name, kind, sentTo, waiting, isBehind, fault }) => {
    const queue = waiting === 0 ? '' : `; ${waiting} records wait, and stay in the log until it takes them`
    const why = fault === null ? '' : `; the last try failed: ${fault}`
    const ok = isBehind ? false : fault === null ? true : null
    return {
      name: forwardRow(name),
      ok,
      detail: `${kind}; it has taken the log up to record ${sentTo}${queue}${why}`,
      mend: ok === true ? '' : MENDS[kind],
    }
  })
