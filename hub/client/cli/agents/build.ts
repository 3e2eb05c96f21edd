/** `hub agent build`: builds the image of a folder, copies its card and schemas into the home, and has the hub read the cards. */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import path from 'node:path'
import { type AgentCard, DEFAULT_LIMITS } from '../../../protocol/agent.ts'
import { floorNotes } from '../../../protocol/coding-clis.ts'
import { judgePath } from '../../../protocol/paths.ts'
import { spanText } from '../../../protocol/spans.ts'
import type { AgentListing } from '../../answers.ts'
import { EXIT, Problem, toProblem, usage } from '../../problem.ts'
import type { Context, Run } from '../context.ts'
import { engineSocketOf, imageIdOf, nameImage, removeImage } from '../engine.ts'
import { pathsOf } from '../home.ts'
import { keepInHistory, writeWhole } from '../home-files.ts'
import { type AgentFolder, CHECKOUT, cardFileOf, openFolder } from './folder.ts'
import { linkSdk } from './new.ts'

/** Of an image of many GB from another one that has to be passed through. */
const BUILD_MS = 1_800_000

export interface BuiltImage {
  name: string
  id: string
  state: 'built' | 'present'
  /** Of one made from another image: what of that one does not hold. */
  notes?: readonly string[]
  /** What was installed into it. */
  packages?: readonly string[]
}

/** Assembles and loads the image in a separate process. @throws Problem with its last line */
export function buildImage(
  context: Context,
  { folder, card }: AgentFolder,
  image: string,
  from?: string,
): Promise<BuiltImage> {
  linkSdk(folder)
  const script = path.join(CHECKOUT, 'scripts', 'build-agent.ts')
  const socket = engineSocketOf(pathsOf(context.home))
  const argv = [
    script,
    folder,
    '--name',
    card.name,
    '--image',
    image,
    '--json',
    '--socket',
    socket,
    '--home',
    context.home,
    ...(from === undefined ? [] : ['--from', from]),
  ]
  return new Promise((resolve, reject) => {
    execFile(process.execPath, argv, { timeout: BUILD_MS, encoding: 'utf8' }, (error, stdout, stderr) => {
      if (error === null) resolve(JSON.parse(stdout) as BuiltImage)
      else {
        const own = stderr.split('\n').findLast((line) => line.startsWith('build-agent: '))
        const why = own?.slice('build-agent: '.length) ?? error.message
        reject(
          new Problem('image_missing', 'refused', `${card.name} was not built: ${why}`, 'fix that and build again'),
        )
      }
    })
  })
}

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

/** Remembers what a build replaces, so that it can be put back if the card is refused (fault C36). */
async function keepFormer(context: Context, name: string, image: string) {
  const [file, paths] = [cardFileOf(context.home, name), pathsOf(context.home)]
  const card = existsSync(file) ? readFileSync(file) : undefined
  const id = await imageIdOf(paths, image)
  return {
    async putBack(): Promise<void> {
      if (card === undefined) rmSync(file, { force: true })
      else writeWhole(file, card)
      const isBack =
        id === undefined ? (await removeImage(paths, image)) === undefined : await nameImage(paths, id, image)
      if (!isBack) context.terminal.note(`the image ${image} is the new one already; fix the card and build again`)
      await context.hub.call('agent.reload').catch(() => undefined)
    },
  }
}

/** The time to live of its sessions, and whether it is the default (S1-48). */
const ttlText = ({ limits }: AgentCard): string =>
  limits.ttl === undefined ? `${spanText(DEFAULT_LIMITS.ttlMs)}, the default` : spanText(limits.ttl)

export const build: Run = async (context, [named = ''], options) => {
  const { home, json, terminal } = context
  const agent = openFolder(named)
  const { name, image } = agent.card
  const former = await keepFormer(context, name, image)
  terminal.live(`assembling ${image}`)
  const built = await buildImage(context, agent, image, options.from as string | undefined)
  terminal.live('')
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
    for (const note of floorNotes(built.packages ?? [])) terminal.note(note)
    for (const note of built.notes ?? []) terminal.note(`of ${options.from ?? 'the image it is made from'}: ${note}`)
    terminal.out(`${built.state}  ${built.name}  ${built.id}\ntime to live of a session: ${ttlText(agent.card)}`)
    terminal.note(`next: \`hub agent allow ${name}\`, then \`hub submit ${name}\``)
  }
  return EXIT.done
}
