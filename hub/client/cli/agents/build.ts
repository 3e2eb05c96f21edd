/** `hub agent build`: builds the image of a folder, copies its card and schemas into the home, and has the hub read the cards. */
import { existsSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import path from 'node:path'
import { type AgentCard, DEFAULT_LIMITS } from '../../../protocol/agent.ts'
import { floorNotes } from '../../../protocol/coding-clis.ts'
import { judgePath } from '../../../protocol/paths.ts'
import { spanText } from '../../../protocol/spans.ts'
import type { AgentListing } from '../../answers.ts'
import { EXIT, Problem, toProblem, usage } from '../../problem.ts'
import type { Context, Run } from '../context.ts'
import { imageIdOf, nameImage, removeImage } from '../engine.ts'
import { pathsOf } from '../home.ts'
import { keepInHistory, writeWhole } from '../home-files.ts'
import { dataFileOf } from './allow.ts'
import { type AgentFolder, cardFileOf, openFolder, submitStep } from './folder.ts'
import { planGrant, readPolicy } from './grants.ts'
import { BuildStopped, type BuiltImage, buildImage, INTERRUPTED, untilStopped } from './image-process.ts'

/** Reads and checks the card's schemas. Each is a file of the folder, at the path that the card names. */
function schemasOf({ card, folder, file }: AgentFolder): Map<string, string> {
  const { sends, receives } = card.messages
  const named = [...Object.values(sends), ...Object.values(receives)].filter((each) => each !== null)
  return new Map(
    [...new Set(named)].map((each) => {
      const fault = judgePath(each)
      if (fault !== undefined) throw usage(`${file}: the schema ${each} ${fault}`, 'fix the card')
      try {
        const real = realpathSync(path.join(folder, each))
        if (path.relative(realpathSync(folder), real).startsWith('..')) throw new Error('it is outside the folder')
        const text = readFileSync(real, 'utf8')
        JSON.parse(text)
        return [each, text]
      } catch (error) {
        throw usage(`${file}: the schema ${each} cannot be used: ${(error as Error).message}`, 'fix the schema')
      }
    }),
  )
}

/** Schemas of all cards share one folder: a file that another card names is not replaced by a different one. */
function refuseForeignSchemas(agents: string, name: string, schemas: ReadonlyMap<string, string>): void {
  for (const [schema, text] of schemas) {
    const target = path.join(agents, schema)
    if (!existsSync(target) || readFileSync(target, 'utf8') === text) continue
    const other = readdirSync(agents)
      .filter((file) => file.endsWith('.yaml') && file !== `${name}.yaml`)
      .find((file) => readFileSync(path.join(agents, file), 'utf8').includes(schema))
    if (other === undefined) continue
    const next = `put yours at schemas/${name}/${path.basename(schema)}`
    throw new Problem('conflict', 'refused', `${other} has a different schema under ${schema}`, next)
  }
}

/**
 * Copies card and schemas into the home; the schemas into the folder `as.schemas`, if it is given.
 * Returns the files written, relative to agents/.
 */
export function placeCard(
  home: string,
  agent: AgentFolder,
  as: { name: string; text: string; schemas?: string },
): string[] {
  const agents = path.join(home, 'agents')
  const schemas = new Map([...schemasOf(agent)].map(([each, text]) => [path.join(as.schemas ?? '', each), text]))
  refuseForeignSchemas(agents, as.name, schemas)
  for (const [schema, text] of schemas) writeWhole(path.join(agents, schema), text)
  writeWhole(cardFileOf(home, as.name), as.text)
  return [`${as.name}.yaml`, ...schemas.keys()]
}

/** Has the hub read the cards again. @throws Problem with the line, if this one did not load */
export async function reloadCards({ hub }: Context, name: string): Promise<AgentListing> {
  const listing = await hub.call('agent.reload')
  const wrong = listing.problems.find(({ file }) => file === `${name}.yaml`)
  if (wrong !== undefined) {
    const place = `line ${wrong.line ?? 1}${wrong.column ? `, column ${wrong.column}` : ''}`
    const text = `the card was not loaded: ${wrong.file} ${place}: ${wrong.message}`
    throw new Problem('schema_invalid', 'refused', text, 'fix the card and build again')
  }
  const note = listing.agents.find((each) => each.name === name)?.imageNote
  if (typeof note === 'string')
    throw new Problem(
      'conflict',
      'refused',
      `the image was built, but the hub did not accept it: ${note}`,
      'hub session list',
    )
  return listing
}

/** Remembers what a build replaces, so that it can be put back if the build fails or the card is refused (fault C36). */
async function keepFormer(context: Context, name: string, image: string) {
  const [file, paths] = [cardFileOf(context.home, name), pathsOf(context.home)]
  const card = existsSync(file) ? readFileSync(file) : undefined
  const id = await imageIdOf(paths, image)
  async function putImageBack(): Promise<void> {
    if ((await imageIdOf(paths, image)) === id) return
    const isBack =
      id === undefined ? (await removeImage(paths, image)) === undefined : await nameImage(paths, id, image)
    if (!isBack) context.terminal.note(`${image} could not be given back its former image; build again`)
  }
  return {
    /** Before the card was placed. */
    putImageBack,
    async putBack(): Promise<void> {
      if (card === undefined) rmSync(file, { force: true })
      else writeWhole(file, card)
      await putImageBack()
      await context.hub.call('agent.reload').catch(() => undefined)
    },
  }
}

/** The time to live of its sessions, and whether it is the default (S1-48). */
const ttlText = ({ limits }: AgentCard): string =>
  limits.ttl === undefined ? `${spanText(DEFAULT_LIMITS.ttlMs)}, the default` : spanText(limits.ttl)

/** What is really next: what keeps it from starting, then what its card asks for beyond its row, then a task. */
async function nextSteps({ hub, home }: Context, agent: AgentFolder): Promise<string[]> {
  const { card } = agent
  const { lacks = [] } = await hub.call('agent.show', { name: card.name }).catch(() => ({ lacks: [] }))
  const grant = `hub agent allow ${card.name}`
  const file = dataFileOf(home)
  const row = existsSync(file) ? readPolicy(readFileSync(file), file).agents[card.name] : undefined
  const mends = lacks.map(({ mend }) => mend)
  const asks = planGrant(card, row).changed ? [grant] : []
  return [...new Set([...mends, ...asks, submitStep(card, agent.folder)])]
}

const notesOf = ({ packages = [], notes, from }: BuiltImage): string[] => [
  ...floorNotes(packages),
  ...notes.map((note) => (from === undefined ? note : `of ${from.name}: ${note}`)),
]

async function make(
  context: Context,
  agent: AgentFolder,
  from: string | undefined,
  stop: AbortSignal,
): Promise<number> {
  const { home, json, terminal } = context
  const { name, image } = agent.card
  const former = await keepFormer(context, name, image)
  const built = await buildImage(context, agent, image, { from, stop }).catch(async (thrown) => {
    await former.putImageBack()
    throw thrown
  })
  const files = placeCard(home, agent, { name, text: agent.text })
  let listing: AgentListing
  try {
    listing = await reloadCards(context, name)
  } catch (error) {
    // A hub that does not run has refused nothing; it reads the card when it starts.
    if (toProblem(error).kind !== 'unavailable') await former.putBack()
    throw error
  }
  keepInHistory(path.join(home, 'agents'), files, `hub agent build ${name}`)
  const view = listing.agents.find((each) => each.name === name)
  if (json) terminal.json({ ...built, agent: view ?? null })
  else {
    for (const note of notesOf(built)) terminal.fault(note)
    terminal.out(`${built.state}  ${built.name}  ${built.id}\ntime to live of a session: ${ttlText(agent.card)}`)
    const steps = await nextSteps(context, agent)
    terminal.note(`next: ${steps.map((step) => `\`${step}\``).join(', then ')}`)
  }
  return EXIT.done
}

export const build: Run = async (context, [named = ''], options) => {
  const agent = openFolder(named)
  const { name } = agent.card
  const { terminal } = context
  try {
    const from = options.from as string | undefined
    return await untilStopped(
      () => terminal.note(`stopping the build of ${name}`),
      (stop) => make(context, agent, from, stop),
    )
  } catch (thrown) {
    if (!(thrown instanceof BuildStopped)) throw thrown
    terminal.note(`${thrown.message}; nothing of it is left, and the agent is as it was`)
    return INTERRUPTED
  }
}
