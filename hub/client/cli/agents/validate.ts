/** `hub agent validate [FILE|FOLDER|NAME]...`: what is wrong with cards, with no hub running. hub/judge.ts judges, by the code that the next hub will run. */
import { readdirSync, statSync } from 'node:fs'
import path from 'node:path'
import { EXIT, usage } from '../../problem.ts'
import type { Alone } from '../command.ts'
import { askProgram, type Fault, faultLine, program } from '../setup/judge.ts'
import { clean, jsonText } from '../text.ts'

type Asked = { kind: 'card' | 'recipe' | 'folder'; path: string } | { kind: 'places'; only?: string }
interface Verdict {
  files: { file: string; faults: Fault[] }[]
  shadowed: { agent: string; card: string; by: string }[]
  /** False where hub.yaml has a fault itself, so that nobody knows what it allows. */
  isLimited: boolean
}

const RECIPE = 'image.yaml'

/** A file, the folder of an agent, a folder of cards, or the name of an agent of the home. @throws Problem usage for what is none of them */
function askedBy(named: string): Asked[] {
  const at = path.resolve(named)
  const found = statSync(at, { throwIfNoEntry: false })
  if (found === undefined) {
    if (/^[a-z0-9-]{1,63}$/.test(named)) return [{ kind: 'places', only: named }]
    throw usage(`${at} is not there`, 'name a file, a folder or an agent')
  }
  if (!found.isDirectory()) return [{ kind: path.basename(at) === RECIPE ? 'recipe' : 'card', path: at }]
  const names = readdirSync(at).sort()
  if (names.includes('agent.yaml')) return [{ kind: 'folder', path: at }]
  const cards = names.filter((name) => name.endsWith('.yaml'))
  if (cards.length === 0) throw usage(`${at} holds no agent.yaml and no card`, '`hub agent new NAME` makes a folder')
  return cards.map((name) => ({ kind: name === RECIPE ? 'recipe' : 'card', path: path.join(at, name) }))
}

export const validate: Alone = async ({ home, json, terminal }, named) => {
  const asked: Asked[] = named.length === 0 ? [{ kind: 'places' }] : named.flatMap(askedBy)
  const verdict = await askProgram<Verdict>([program('hub/judge.ts'), 'cards', '--home', home], JSON.stringify(asked))
  const { files, shadowed, isLimited } = verdict
  const [only] = asked
  if (files.length === 0 && only?.kind === 'places' && only.only !== undefined)
    throw usage(`${only.only} is neither a file nor a folder here, nor an agent of this home`, '`hub agent list`')
  const ok = files.every(({ faults }) => faults.length === 0)
  if (json)
    terminal.out(jsonText({ ok, files: files.map((each) => ({ ...each, ok: each.faults.length === 0 })), shadowed }))
  else {
    const lines = files.flatMap(({ file, faults }) =>
      faults.length === 0 ? [`${file} is valid`] : faults.map((fault) => faultLine(file, fault)),
    )
    terminal.out(lines.length === 0 ? 'there is no card' : lines.map(clean).join('\n'))
    for (const { agent, card, by } of shadowed)
      terminal.note(clean(`not used: ${card}: ${by} names ${agent} too, and comes first`))
  }
  if (!isLimited) terminal.note('hub.yaml has a fault, so limits were not compared with it: `hub config check`')
  return ok ? EXIT.done : EXIT.refused
}
