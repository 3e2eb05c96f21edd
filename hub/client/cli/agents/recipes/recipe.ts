/** What a recipe is: how a coding agent of others becomes an agent of this hub. Each recipe is one file and one line of `../recipes.ts`. */
import { Document } from 'yaml'
import { type CodingCli, packagesOf } from '../../../../protocol/coding-clis.ts'
import { EARLIER } from '../../../../protocol/transcripts.ts'

/** What a person chose. */
export interface RecipeFacts {
  name: string
  /** The name of its upstream in hub.yaml. */
  upstream: string
  model: string
  /** `process.arch` of the machine that builds its image. */
  arch: string
  /** Whether a start after a fall goes on with the conversation of its task (docs/agents.md). */
  resumes: boolean
}

/** Something of the CLI that the box outside makes needless or that could not work in it. */
export interface Off {
  what: string
  /** The words that do it. */
  how: string
  why: string
}

export interface Recipe {
  title: string
  /** Undefined for one that installs no CLI. */
  cli: CodingCli | undefined
  /** The kind of its upstream. */
  kind: 'anthropic' | 'openai' | 'google'
  /** Used unless a person names another. */
  model: string
  /** Given a repository with `--repo` and a branch comes back, or given files with `--input` and files come back. */
  works: 'repository' | 'input'
  /** What hub.yaml allows to this agent, and what its card asks for. */
  limits: Limits
  /** Models that it calls beside that one. */
  helpers: readonly string[]
  off: readonly Off[]
  /** The words by which its CLI goes on with a conversation, as they are shown; undefined for one of which the hub keeps none. */
  resume?: string
  /** What works otherwise than where the CLI runs by itself. */
  notes: readonly string[]
  /** The card, `image.yaml` and what else the image carries, by name. `README.md` is the same for all. @throws Problem usage where this machine cannot have it */
  files(facts: RecipeFacts): ReadonlyMap<string, string>
}

/** What `run` is given for each task. It stands in the word of its option or after `--`, so that no value is taken for an option. */
export const TASK = '{param:task}'
export const MODEL = '{model}'
/** What a CLI is told that goes on with its conversation. */
export const GO_ON = 'You were interrupted, and your files are as at first. Go on with your task.'

export type Limits = Readonly<
  { ttl: string; memory: string } & Partial<Record<'workspace' | 'tmp', string> & Record<'openFiles' | 'pids', number>>
>
/** The limits of a night with a repository. 2 GiB of workspace are 262 144 inodes. */
export const NIGHT = {
  ttl: '8h',
  memory: '4GiB',
  workspace: '2GiB',
  tmp: '256MiB',
  openFiles: 2048,
  pids: 512,
} as const satisfies Limits
/** Those of a program that waits for its model, and starts no other. */
export const LIGHT = { ttl: '8h', memory: '512MiB' } as const satisfies Limits
/** Half of its memory, in MiB: a program that sizes its heap by the host would be killed. The workspace counts as memory too. */
export const HEAP_MIB = 2048

/** What coding with a model needs (docs/egress.md 4): contexts of 400 000 tokens, thousands of calls, money for a night. */
export const BUDGET = {
  call: { tokens: 400_000 },
  attempt: { calls: 2000 },
  tree: { usd: '10 USD' },
  hour: { input: 5_000_000, output: 1_000_000 },
} as const

/** Of all of them: npm, which runs tests of many repositories, looks for a newer npm at its end. */
const ENV = { NPM_CONFIG_UPDATE_NOTIFIER: 'false' }

/** The packages of npm lie here in the image. */
export const NPM = '/usr/local/lib/node_modules'

interface CardWords {
  recipe: string
  title: string
  driver: 'stream-json' | 'command' | 'json-lines'
  run: readonly string[]
  /** In its place where a start goes on with a conversation; undefined for a CLI of which none is kept. */
  resume?: readonly string[]
  env?: Readonly<Record<string, string>>
}

/** The card of a coding agent that works on a repository. */
export function cardText(
  { name, upstream, model, resumes }: Omit<RecipeFacts, 'arch'>,
  { recipe, title, driver, run, resume, env }: CardWords,
): string {
  if (resumes && resume === undefined) throw new Error(`${recipe} cannot go on with a conversation`)
  const text = writtenCard(recipe, title, {
    name,
    description: `${title} works on a repository`,
    image: `hub/${name}`,
    driver,
    shell: true,
    run: resumes ? run.map((word) => word.replace(TASK, `${TASK}${EARLIER}`)) : run,
    ...(resumes ? { resume, transcripts: true, repeatable: true } : {}),
    env: { ...ENV, ...env },
    defaults: { model },
    limits: NIGHT,
    may: { egress: [upstream] },
  })
  const exec = `# Programs of the repository run through their interpreter alone. To let them run by themselves (docs/sandbox.md 8):\n# relax: [exec]\n`
  return `${text}${exec}`
}

/** A card as people read it: what belongs together stands in one line, and the first says where it is from. */
export function writtenCard(recipe: string, title: string, card: object): string {
  const document = new Document(card)
  document.commentBefore = ` ${title}, by the recipe \`${recipe}\`: docs/reference/recipes.md says what is switched off, and why.`
  for (const key of ['defaults', 'limits', 'may']) {
    const map = document.get(key, true) as { flow?: boolean }
    map.flow = true
  }
  return document.toString({ lineWidth: 0 })
}

/** The recipe of its image: what a coding agent works with, and its own package with what that runs by. */
export function imageText(cli: CodingCli): string {
  const packages = packagesOf(cli).map((name) => JSON.stringify(name))
  return [
    'base: coding',
    `reason: ${cli.title} works on a repository and runs its tests`,
    ...(cli.registry === 'pip' ? ['tools: [python3]'] : []),
    'packages:',
    `  ${cli.registry}: [${packages.join(', ')}]`,
    '',
  ].join('\n')
}
