/** The two files while `hub setup` goes on: each commit is judged and tried by the code of both processes, and then written whole, or not at all. */
import { existsSync, renameSync } from 'node:fs'
import path from 'node:path'
import { arrivalsFile, readArrivals } from '../../base/arrivals.ts'
import { watchdogFileOf } from '../../base/watchdog-words.ts'
import { Problem, usage } from '../problem.ts'
import type { Context } from './context.ts'
import { writeWhole } from './home-files.ts'
import { askProgram, configFileOf, configText, faultsText, judge, program } from './judge.ts'
import type { Given } from './setup-answers.ts'
import { type Channel, standing, type Texts, withAnswers } from './setup-files.ts'
import { clean } from './text.ts'

export interface Tried {
  channel: string
  ok: boolean
  answer: string
}
export interface View {
  written: string[]
  tried: (Tried & { whose: 'hub' | 'watchdog' })[]
  arrived: Readonly<Record<string, boolean>>
  restarted: string[]
  card: string | null
  systemd: string | null
  rehearsal: string | null
  left: string[]
}

/** One commit after the other; each writes both files whole, or nothing. */
export function createDesk(context: Context) {
  const { home } = context
  const file = path.join(home, 'watchdog', 'config.yaml')
  const found = watchdogFileOf(home)
  const view: View = {
    ...{ written: [], tried: [], arrived: readArrivals(home), restarted: [] },
    ...{ card: null, systemd: null, rehearsal: null, left: [] },
  }
  const texts: Texts = { hub: configText(home).toString('utf8'), watchdog: found?.text ?? '' }

  /** The earlier form in the words of today; secrets that stood in variables become files. */
  async function convert(): Promise<Record<string, string>> {
    if (found?.form !== 'config.json') return {}
    const argv = [program('watchdog/config-check.ts'), 'convert']
    const { faults, value } = await askProgram<{ faults: Parameters<typeof faultsText>[1]; value: unknown }>(
      argv,
      found.text,
    )
    if (faults.length > 0) throw refusal(found.path, faults)
    const secrets: Record<string, string> = {}
    const whole = JSON.stringify(value, (key: string, each: unknown) => {
      const variable = (each as { variable?: unknown } | null)?.variable
      if (typeof variable !== 'string') return each
      const said = process.env[variable]
      if (said === undefined || said === '')
        throw usage(
          `${found.path} takes a secret from ${variable}, which is not set here`,
          `${variable}=... hub setup, once: it becomes a file`,
        )
      if (key === 'user') return said
      const name = variable.toLowerCase().replaceAll('_', '-').replace(/^-+/, '')
      secrets[name] = said
      return name
    })
    texts.watchdog = withAnswers({ hub: '', watchdog: '' }, {}).watchdog
    const { stringify } = await import('yaml')
    texts.watchdog = stringify(JSON.parse(whole))
    return secrets
  }

  const refusal = (where: string, faults: Parameters<typeof faultsText>[1]) =>
    new Problem('config_invalid', 'refused', `${faultsText(where, faults)}; nothing was written`, 'correct it', {
      faults,
    })

  async function requireBoth(next: Texts): Promise<void> {
    const [hub, watchdog] = await Promise.all([judge('config', home, next.hub), judge('watchdog', home, next.watchdog)])
    if (hub.faults.length > 0) throw refusal(configFileOf(home), hub.faults)
    if (watchdog.faults.length > 0) throw refusal(file, watchdog.faults)
  }

  /** Both sides send a test by these channels alone. */
  async function tryAll(channels: readonly Channel[], secrets: Given['secrets']): Promise<View['tried']> {
    if (channels.length === 0) return []
    const alone = withAnswers({ hub: '', watchdog: '' }, { channels })
    const ask = (script: string, text: string) =>
      askProgram<{ channels: Tried[] }>(
        [program(script), '--home', home],
        JSON.stringify({ text, secrets, names: channels.map(({ name, kind }) => name ?? kind) }),
      )
    const [ours, theirs] = await Promise.all([
      ask('hub/try-alerts.ts', alone.hub),
      ask('watchdog/config-try.ts', alone.watchdog),
    ])
    return [
      ...ours.channels.map((each) => ({ whose: 'hub' as const, ...each })),
      ...theirs.channels.map((each) => ({ whose: 'watchdog' as const, ...each })),
    ]
  }

  return {
    view,
    convert,
    standing: () => standing(texts),
    /** Judges, tries, and only then writes. @throws Problem where it is refused or a channel does not take the test; nothing was written then */
    async commit({ answers, secrets }: Given): Promise<void> {
      const next = withAnswers(texts, answers)
      // What stands already was judged and tried when it was written.
      const isSame = next.hub === texts.hub && next.watchdog === texts.watchdog
      if (isSame && Object.keys(secrets).length === 0 && found?.form !== 'config.json') return
      await requireBoth(next)
      const tried = await tryAll(answers.channels ?? [], secrets)
      view.tried.push(...tried)
      const failed = tried.filter(({ ok }) => !ok)
      if (failed.length > 0) {
        const said = failed.map(({ whose, channel, answer }) => `${channel} (${whose}): ${clean(answer)}`).join('; ')
        throw new Problem(
          'unreachable',
          'unavailable',
          `the test was not taken by ${said}; nothing was written`,
          'correct the answer and run `hub setup` again',
        )
      }
      for (const [name, value] of Object.entries(secrets)) writeWhole(path.join(home, 'secrets', name), value)
      if (next.watchdog !== texts.watchdog || found?.form === 'config.json') {
        writeWhole(file, next.watchdog)
        view.written.push('watchdog/config.yaml')
        if (existsSync(path.join(home, 'watchdog', 'config.json')))
          renameSync(path.join(home, 'watchdog', 'config.json'), path.join(home, 'watchdog', 'config.json.before'))
      }
      if (next.hub !== texts.hub) {
        writeWhole(configFileOf(home), next.hub)
        view.written.push('hub.yaml')
      }
      Object.assign(texts, next)
      for (const { name, kind } of answers.channels ?? []) this.arrive(String(name ?? kind), false)
    },
    arrive(channel: string, isThere: boolean): void {
      view.arrived = { ...view.arrived, [channel]: isThere }
      writeWhole(arrivalsFile(home), `${JSON.stringify(view.arrived)}\n`)
    },
  }
}
export type Desk = ReturnType<typeof createDesk>
