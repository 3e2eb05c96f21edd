/** What holds all through a storm and at its end: the stricter of two states wins (I5), and stop always works (I6). */
import { setTimeout as sleep } from 'node:timers/promises'
import type { TrialHome } from '../support/trial-home.ts'

const ORDER = ['normal', 'degraded', 'safe', 'draining']

/** Looks at the mode all through the storm; answers where it was not the strictest of its conditions (I5). */
export function watchStrictness(trial: TrialHome): () => Promise<string[]> {
  const broken = new Set<string>()
  let looks = 0
  let over = false
  const looking = (async () => {
    while (!over) {
      // Away while it is killed.
      const seen = await trial.mode().catch(() => undefined)
      if (seen !== undefined) {
        looks += 1
        const strictest = Math.max(0, ...seen.conditions.map(({ mode }) => ORDER.indexOf(mode)))
        if (seen.mode !== ORDER[strictest])
          broken.add(`I5: ${seen.mode} under ${seen.conditions.map(({ name }) => name).join(', ')}`)
      }
      await sleep(250)
    }
  })()
  return async () => {
    over = true
    await looking
    return looks === 0 ? ['I5: the mode was never seen'] : [...broken]
  }
}

/** I6: what the storm left standing still stops, although the engine refuses its first words, and all of it is confirmed. */
export async function stopAtTheEnd(trial: TrialHome): Promise<string[]> {
  for (let n = 0; n < 2; n += 1) await trial.submit('trial', { what: 'sleep' })
  await trial.working(2)
  trial.proxy.spoil('stop', { kind: 'answer', status: 500 }, 1)
  const answer = await trial.hub.call('hub.shutdown', { reason: 'the storm is over' }, { deadlineMs: 120_000 })
  trial.proxy.heal()
  const left = await trial.engine.list(trial.instance)
  return [
    ...(answer.requested === 2 ? [] : [`I6: ${answer.requested} of 2 were told to stop`]),
    ...answer.containers
      .filter(({ outcome }) => outcome === 'failed')
      .map(({ container }) => `I6: ${container} failed`),
    ...left.map(({ name }) => `I6: ${name} is left`),
  ]
}
