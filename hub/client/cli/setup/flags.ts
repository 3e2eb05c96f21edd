/** `hub flag`: what is switched on and off while the hub runs, and under which profile. */

import { spanText } from '../../../protocol/spans.ts'
import type { Answered } from '../../answers.ts'
import { EXIT, usage } from '../../problem.ts'
import { given, type Run, spanOption } from '../context.ts'
import { clean, columns, type Paint } from '../text.ts'

type Listing = Answered<'flag.list'>
type Flag = Listing['flags'][number]

const word = (isOn: boolean): string => (isOn ? 'on' : 'off')

/** What made it so, in words. */
function byText({ by, emergency, heldBy }: Flag, profile: string): string {
  if (by === 'held') return `held by the profile ${profile}`
  if (by === 'emergency' && emergency !== null)
    return `emergency for ${spanText(emergency.leftMs)} more: ${clean(emergency.reason)}`
  return `${by === 'set' ? 'set' : 'default'}${heldBy.length === 0 ? '' : `; held by ${heldBy.join(', ')}`}`
}

const table = ({ flags, mandatory, profile }: Listing, paint: Paint): string => {
  const rows = flags.map((flag) => [
    flag.name,
    { text: word(flag.isOn), style: flag.isOn ? ('green' as const) : ('yellow' as const) },
    byText(flag, profile),
    flag.isOn ? flag.means : flag.off,
  ])
  const fixed = mandatory.map(({ name, means }) => [name, 'on', 'mandatory', means])
  return `profile ${profile}\n${columns(['FLAG', 'IS', 'BECAUSE', 'SO'], [...rows, ...fixed], paint)}`
}

export const list: Run = async ({ hub, json, terminal }) => {
  const answer = await hub.call('flag.list')
  if (json) terminal.json(answer)
  else terminal.out(table(answer, terminal.paint))
  return EXIT.done
}

const VALUES: Readonly<Record<string, boolean | null>> = { on: true, off: false, default: null }

export const set: Run = async ({ hub, json, terminal }, [name = '', value = ''], options) => {
  if (!Object.hasOwn(VALUES, value))
    throw usage(`${JSON.stringify(value)} is no value of a flag; write on, off or default`)
  const emergency = typeof options.emergency === 'string' ? options.emergency : undefined
  const forMs = spanOption('--for', options.for)
  if ((emergency === undefined) !== (forMs === undefined))
    throw usage('an emergency entry needs both its reason and its end: --emergency "REASON" --for 1h')
  const { flag } = await hub.call('flag.set', { name, value: VALUES[value] ?? null, ...given({ emergency, forMs }) })
  const until = flag.emergency === null ? '' : ` for ${spanText(flag.emergency.leftMs)}; then it goes back by itself`
  if (json) terminal.json(flag)
  else terminal.out(`${flag.name} is ${word(flag.isOn)}${until}: ${flag.isOn ? flag.means : flag.off}`)
  return EXIT.done
}
