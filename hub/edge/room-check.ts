/** Doctor's row of how large the home is and when the disk is full of it. */
import { ROOM_PARTS, type RoomView } from '../work/retention/room.ts'
import type { Check } from './doctor.ts'

/** From here on it is worth a look. */
const DAYS_SOON = 14

const mib = (bytes: number) => `${(bytes / 1024 ** 2).toFixed(1)} MiB`

export function roomCheck(view: RoomView | null): Check {
  const mend = 'hub prune --dry-run, then hub prune; `retention` of hub.yaml says how long what is kept'
  if (view === null) return { name: 'growth', ok: null, detail: 'not counted yet', mend: 'hub doctor in a minute' }
  const { parts, bytes, growthPerDayBytes: growth, daysToFull: days } = view
  const largest = ROOM_PARTS.filter((part) => parts[part] > 0).map((part) => `${part} ${mib(parts[part])}`)
  const pace =
    growth === null
      ? 'its growth is known after six hours'
      : `${growth < 0 ? '' : '+'}${mib(growth)} a day, ${days === null ? 'no end in sight' : `full in ${days} days`}`
  const detail = `${mib(bytes)} (${largest.join(', ')}); ${pace}`
  return { name: 'growth', ok: days !== null && days < DAYS_SOON ? null : true, detail, mend }
}
