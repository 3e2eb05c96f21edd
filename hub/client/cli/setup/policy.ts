import { readFileSync } from 'node:fs'
import path from 'node:path'
import { EXIT } from '../../problem.ts'
import type { Run } from '../context.ts'
import { keepInHistory } from '../home-files.ts'
import { clean, facts, stampText } from '../text.ts'
import { judge } from './judge.ts'

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
/** Commits a valid file before it is in force. The hub refuses any other, records that and raises an alert. */
async function keepData(home: string): Promise<boolean> {
  const file = path.join(home, 'policy', 'data.json')
  try {
    const { faults } = await judge('policy', home, readFileSync(file))
    return faults.length === 0 && keepInHistory(path.dirname(file), ['data.json'], 'hub policy reload')
  } catch {
    return false
  }
}

/** Has the hub read policy/data.json again, and says what changed. */
export const policyReload: Run = async ({ hub, home, json, terminal }) => {
  const committed = await keepData(home)
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
