/** What the keys of a card about conversations say together (docs/agents.md). Pure. */
import { canDo, DRIVER_NAMES, type DriverName } from './drivers.ts'
import { EARLIER } from './transcripts.ts'
import { PLACE_NAMES } from './wish-places.ts'

interface Keys {
  driver: DriverName
  run: readonly string[]
  transcripts?: boolean | undefined
  resume?: readonly string[] | undefined
}

/** Calls back with each key that is wrong, and why. */
export function judgeTranscripts(card: Keys, fault: (key: string, message: string) => void): void {
  const { driver, run, transcripts, resume } = card
  if (transcripts !== true) {
    if (resume !== undefined) fault('resume', 'needs `transcripts: true`: without it no conversation is kept')
    return
  }
  const has = (argv: readonly string[], place: string) => argv.some((word) => word.includes(place))
  if (!canDo(driver, 'resumes')) {
    const able = DRIVER_NAMES.filter((name) => canDo(name, 'resumes')).join(' or ')
    fault('driver', `is ${driver}, which goes on with no earlier conversation; transcripts need ${able}`)
  }
  if (!has(run, EARLIER))
    fault('run', `transcripts need ${EARLIER} in it, where the end of an earlier one is told: "{param:task}${EARLIER}"`)
  if (resume === undefined) {
    fault('transcripts', 'needs `resume`: the program and its arguments where it goes on with the conversation')
    return
  }
  // What is asked of the model is judged by `run`, and must not be lost where it goes on.
  const odd = PLACE_NAMES.map((name) => `{${name}}`).filter((place) => has(run, place) !== has(resume, place))
  if (odd.length > 0) fault('resume', `and run must have the same places: ${odd.join(', ')} is in one of them alone`)
}
