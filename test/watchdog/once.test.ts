/** X5, S1-22: every alert starts and stops exactly once, told in file and mail, over restarts and over kill -9 in the worst moment. */
import { readFileSync } from 'node:fs'
import { afterEach, expect, test } from 'vitest'
import { createSeededRandom } from '../support/seeded-random.ts'
import { watchScene } from '../support/watch-scene.ts'
import { makeAnswer, makeContainer } from '../support/watchdog-home.ts'

const homes: { remove(): void }[] = []
afterEach(() => {
  for (const home of homes.splice(0)) home.remove()
})
const MAIL = { kind: 'email', host: 'mail.example.org', from: 'o@example.org', to: 'o@example.org' }

test.each([1, 2, 3, 4, 5])(
  'X5: faults that come and go for 120 rounds, killed at random between telling and remembering (seed %i) [watch-31, alert-2, alert-6]',
  async (seed) => {
    const random = createSeededRandom(seed)
    const at = watchScene({ startGraceMs: 0, channels: [{ kind: 'file' }, MAIL] })
    homes.push(at)
    const dies = { now: false }
    let one = at.start(dies)
    for (let round = 0; round < 120; round += 1) {
      const chance = (part: number) => random.below(1000) < part * 1000
      at.clock.move(30_000)
      if (chance(0.1)) at.engine.down = !at.engine.down
      if (chance(0.1)) at.hub.answer = at.hub.answer ? undefined : () => ({ kind: 'silent', reason: 'gone' })
      if (chance(0.05)) {
        const stray = makeContainer(at.clock.read(), { createdAtMs: 0 })
        at.engine.present.set(stray.id, stray)
        if (chance(0.5)) at.engine.stubborn.add(stray.id)
      }
      if (chance(0.1)) at.engine.stubborn.clear()
      dies.now = chance(0.2)
      await one.watch.round()
      await one.alerts.settled()
      if (dies.now || chance(0.1)) {
        dies.now = false
        one.file.close()
        one = at.start(dies)
      }
    }
    // All well again: everything that was raised must be over.
    at.engine.down = false
    at.engine.stubborn.clear()
    at.hub.answer = () => ({ kind: 'answer', answer: makeAnswer() })
    for (let round = 0; round < 6; round += 1) {
      at.clock.move(30_000)
      await one.watch.round()
      await one.alerts.settled()
    }
    const lines = at.told()
    expect(lines.length).toBeGreaterThan(10)
    const open = new Map<string, number>()
    for (const line of lines) {
      const [event = '', finding = '', level = ''] = line.split(' ')
      const known = open.get(finding)
      if (event === 'raised') expect(known, `${line} while open`).toBeUndefined()
      if (event === 'louder') expect(Number(level), line).toBeGreaterThan(known ?? Infinity)
      if (event === 'resolved') expect(known, `${line} while not open`).toBeDefined()
      if (event === 'resolved') open.delete(finding)
      else open.set(finding, Number(level))
    }
    expect([...open], 'nothing stays open').toEqual([])
    const events = (text: string) => text.match(/^(raised|louder|resolved): /gm)?.length ?? 0
    const mailed = at.letters().reduce((sum, letter) => sum + events(letter.text), 0)
    expect(mailed, 'each event in exactly one letter').toBe(lines.length)
    const ids = readFileSync(at.paths.alerts, 'utf8')
      .trim()
      .split('\n')
      .map((text) => (JSON.parse(text) as { id: string }).id)
    expect(new Set(ids).size).toBe(ids.length)
  },
)
