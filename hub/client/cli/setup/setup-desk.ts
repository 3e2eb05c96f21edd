/** The two files during `hub setup`: the code of both processes checks and tries each commit, which is then written whole or not at all. */
import { existsSync, renameSync } from 'node:fs'
import path from 'node:path'
import { arrivalsFile, readArrivals } from '../../../base/arrivals.ts'
import { watchdogFileOf } from '../../../base/watchdog-words.ts'
import { Problem, usage } from '../../problem.ts'
import type { Context } from '../context.ts'
import { writeWhole } from '../home-files.ts'
import { clean } from '../text.ts'
import { askProgram, configFileOf, configText, faultsText, judge, program } from './judge.ts'
import type { Given } from './setup-answers.ts'
import { type Channel, kindsOf, standing, type Texts, withAnswers } from './setup-files.ts'
import { partOf, type Tried } from './setup-refusals.ts'

export interface View {
  written: string[]
  tried: (Tried & { whose: 'hub' | 'watchdog' })[]
  arrived: Readonly<Record<string, boolean>>
  restarted: string[]
  card: string | null
  systemd: string | null
  rehearsal: string | null
  /** Whether the drill was good; null: none was run. */
  rehearsed: boolean | null
  /** Whether the units were written and enabled; null: not asked for. */
  installed: boolean | null
  left: string[]
  /** The upstream that was declared now; null: none. */
  upstream: { name: string; kind: string } | null
}

/** How the code of both processes checks and tries answers. A test passes its own. */
export interface Probes {
  judge: typeof judge
  /** One of the two sends a test through each channel that `given` names. */
  send(script: 'hub/try-alerts.ts' | 'watchdog/config-try.ts', home: string, given: object): Promise<Tried[]>
}
export const PROBES: Probes = {
  judge,
  send: async (script, home, given) =>
    (await askProgram<{ channels: Tried[] }>([program(script), '--home', home], JSON.stringify(given))).channels,
}

/** Each commit writes both files whole, or nothing. */
export function createDesk(context: Context, probes: Probes = PROBES) {
  const { home } = context
  const file = path.join(home, 'watchdog', 'config.yaml')
  const found = watchdogFileOf(home)
  const view: View = {
    ...{ written: [], tried: [], arrived: readArrivals(home), restarted: [] },
    ...{ card: null, systemd: null, installed: null, rehearsal: null, rehearsed: null, left: [], upstream: null },
  }
  const texts: Texts = { hub: configText(home).toString('utf8'), watchdog: found?.text ?? '' }

  const refusal = (where: string, faults: Parameters<typeof faultsText>[1], text: string) => {
    const kinds = kindsOf(text)
    return new Problem('config_invalid', 'refused', `${faultsText(where, faults)}; nothing was written`, 'correct it', {
      faults: faults.map((fault) => ({ ...fault, part: partOf(fault.key, kinds) })),
    })
  }

  /** Turns the earlier form of the watchdog's file into the present one; secrets in variables become files. */
  async function convert(): Promise<Record<string, string>> {
    if (found?.form !== 'config.json') return {}
    const argv = [program('watchdog/config-check.ts'), 'convert']
    const { faults, value } = await askProgram<{ faults: Parameters<typeof faultsText>[1]; value: unknown }>(
      argv,
      found.text,
    )
    if (faults.length > 0) throw refusal(found.path, faults, '')
    const secrets: Record<string, string> = {}
    const whole = JSON.stringify(value, (key: string, each: unknown) => {
      const variable = (each as { variable?: unknown } | null)?.variable
      if (typeof variable !== 'string') return each
      const said = process.env[variable]
      if (said === undefined || said === '')
        throw usage(
          `${found.path} takes a secret from the variable ${variable}, which is not set here`,
          `run it once as \`${variable}=... hub setup\`; the secret then becomes a file`,
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

  async function requireBoth(next: Texts): Promise<void> {
    const [hub, watchdog] = await Promise.all([
      probes.judge('config', home, next.hub),
      probes.judge('watchdog', home, next.watchdog),
    ])
    if (hub.faults.length > 0) throw refusal(configFileOf(home), hub.faults, next.hub)
    if (watchdog.faults.length > 0) throw refusal(file, watchdog.faults, next.watchdog)
  }

  /** Hub and watchdog each send a test through these channels alone. */
  async function tryAll(channels: readonly Channel[], secrets: Given['secrets']): Promise<View['tried']> {
    if (channels.length === 0) return []
    const alone = withAnswers({ hub: '', watchdog: '' }, { channels })
    const names = channels.map(({ name, kind }) => name ?? kind)
    const [ours, theirs] = await Promise.all([
      probes.send('hub/try-alerts.ts', home, { text: alone.hub, secrets, names }),
      probes.send('watchdog/config-try.ts', home, { text: alone.watchdog, secrets, names }),
    ])
    return [
      ...ours.map((each) => ({ whose: 'hub' as const, ...each })),
      ...theirs.map((each) => ({ whose: 'watchdog' as const, ...each })),
    ]
  }

  return {
    home,
    view,
    convert,
    standing: () => standing(texts),
    /** Checks, tries, and only then writes. @throws Problem if it is refused or a test fails; nothing was written then */
    async commit({ answers, secrets }: Given): Promise<void> {
      const next = withAnswers(texts, answers)
      // What is in the files already was checked and tried when it was written.
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
          `the test failed by ${said}; nothing was written`,
          'correct the answer and run `hub setup` again',
          { failed },
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
