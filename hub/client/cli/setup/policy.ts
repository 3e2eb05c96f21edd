import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { EXIT, Problem } from '../../problem.ts'
import type { Alone } from '../command.ts'
import type { Run } from '../context.ts'
import { keepInHistory } from '../home-files.ts'
import { clean, facts, stampText } from '../text.ts'
import { judgeFolder, sealPolicy } from './judge.ts'

const policyRow = ([name, value]: [string, unknown]): readonly [string, string] =>
  name === 'loadedAtMs' && typeof value === 'number'
    ? ['loaded', stampText(value)]
    : [
        name,
        Array.isArray(value)
          ? value.join(', ')
          : typeof value === 'string'
            ? value
            : (JSON.stringify(value ?? '') ?? '').replace(/^""$/, ''),
      ]

export const policyStatus: Run = async ({ hub, json, terminal }) => {
  const answer = await hub.call('policy.status')
  if (json) terminal.json(answer)
  else
    terminal.out(
      facts(
        Object.entries(answer)
          .map(policyRow)
          .filter(([, value]) => value !== ''),
        terminal.paint,
      ),
    )
  return EXIT.done
}
/**
 * Commits valid files before they are in force, and has the rules among them compiled. Data with a fault goes to the hub as it is: the hub
 * refuses it, records that and raises an alert. @throws Problem policy_unavailable if the rules are at fault
 */
async function keepFiles(home: string): Promise<boolean> {
  const folder = path.join(home, 'policy')
  // Without the folder there is nothing to keep; the hub says so itself.
  if (!existsSync(folder)) return false
  const { faults, isData } = await judgeFolder(home)
  const [fault] = faults
  if (fault !== undefined && isData) return false
  if (fault !== undefined) {
    const said = `${clean(fault.message)}; nothing was reloaded, the earlier rules stay in force`
    throw new Problem('policy_unavailable', 'refused', said, '')
  }
  const keep = (ending: RegExp) =>
    keepInHistory(
      folder,
      readdirSync(folder).filter((name) => ending.test(name)),
      'hub policy reload',
    )
  // What the bundle is made of first: its manifest names the commit.
  const isKept = keep(/\.rego$|^(?:data|samples)\.json$/)
  const { written } = await sealPolicy(home)
  return (written.length > 0 && keep(/^(?:bundle\.json|home\.wasm)$/)) || isKept
}

/** Compiles, names and signs what is in `policy/`, without the hub. */
export const policySeal: Alone = async ({ home, json, terminal }, _words, options) => {
  const key = typeof options.key === 'string' ? options.key : undefined
  const sealed = await sealPolicy(home, key)
  if (json) terminal.out(JSON.stringify(sealed))
  else
    terminal.out(
      sealed.written.length === 0
        ? 'policy/ is sealed as it is; apply it with `hub policy reload`'
        : `written: ${sealed.written.join(', ')}; apply it with \`hub policy reload\``,
    )
  return EXIT.done
}

/** Has the hub read policy/data.json again, and says what changed. */
export const policyReload: Run = async ({ hub, home, json, terminal }) => {
  const committed = await keepFiles(home)
  const answer = await hub.call('policy.reload')
  if (json) terminal.json({ ...answer, committed })
  else {
    const { changed, warnings, ...rest } = answer
    for (const warning of Array.isArray(warnings) ? warnings : []) terminal.note(clean(`note: ${warning}`))
    const lines = typeof changed === 'string' && changed !== '' ? changed.split('; ').map(clean) : ['nothing changed']
    terminal.out(
      `${['reloaded', ...lines].join('\n')}\n${facts(
        Object.entries(rest)
          .map(policyRow)
          .filter(([, value]) => value !== ''),
        terminal.paint,
      )}`,
    )
  }
  return EXIT.done
}
