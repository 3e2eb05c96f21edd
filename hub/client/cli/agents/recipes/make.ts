/**
 * `hub agent new NAME --lang RECIPE`: everything that a coding agent needs. Its upstream is declared first, by the questions of `hub upstream add`;
 * then every model that it calls must have a price there; then folder, limits and row are shown, and written after one yes.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { stringify } from 'yaml'
import { EXIT, Problem, toProblem, usage } from '../../../problem.ts'
import type { Context, Options } from '../../context.ts'
import { writeWhole } from '../../home-files.ts'
import { configFileOf, configText, faultsText, judge } from '../../setup/judge.ts'
import { textOf } from '../../setup/setup-answers.ts'
import { createPerson } from '../../setup/setup-person.ts'
import { clean } from '../../text.ts'
import { declareUpstream } from '../../upstreams/add.ts'
import { NO_WISH } from '../../upstreams/wish.ts'
import { dataFileOf, replacePolicy } from '../allow.ts'
import { readPolicy, withEntry } from '../grants.ts'
import { RECIPES } from '../recipes.ts'
import { cardOf, readmeText, rowOf, submitLine, withNight } from './plan.ts'
import type { Recipe } from './recipe.ts'

export interface Wanted {
  name: string
  lang: string
  recipe: Recipe
  /** As it was typed, and where it is. */
  dir: string
  folder: string
  /** Whether a start after a fall is to go on with the conversation of its task. */
  resumes: boolean
}

/** How long a running hub may take to read a hub.yaml that was changed. */
const TAKEN_OVER_MS = 15_000

/**
 * The name of the upstream: the one that `--upstream` says, else the only one of that kind. Without any of that kind it is declared now, if
 * there is a person to ask for its key. Undefined after a no. @throws Problem
 */
async function upstreamOf(context: Context, { kind, title }: Recipe, options: Options): Promise<string | undefined> {
  const { hub, terminal } = context
  const { upstreams } = await hub.call('upstream.list')
  const named = textOf(options.upstream)
  const found = named === undefined ? undefined : upstreams.find(({ name }) => name === named)
  if (found !== undefined && found.kind !== kind)
    throw usage(`the upstream ${found.name} is of kind ${found.kind}, and ${title} speaks to kind ${kind}`)
  if (found !== undefined) return found.name
  const fitting = upstreams.filter((each) => each.kind === kind).map(({ name }) => name)
  if (named === undefined && fitting.length > 1)
    throw usage(`there are several upstreams of kind ${kind}: ${fitting.join(', ')}`, 'choose one: --upstream NAME')
  if (named === undefined && fitting.length === 1) return fitting[0]
  if (!terminal.interactive || options.yes === true)
    throw new Problem(
      'config_invalid',
      'refused',
      `${title} needs an upstream of kind ${kind}, and hub.yaml declares ${named === undefined ? 'none' : `no ${clean(named)}`}`,
      `declare it first: \`hub upstream add${named === undefined ? '' : ` ${clean(named)}`} --kind ${kind}\``,
    )
  terminal.note(`${title} needs an upstream of kind ${kind}; this declares it`)
  const person = createPerson(process.stdin, process.stderr, true)
  const declared = await declareUpstream(context, { ...NO_WISH, name: named, kind }, person.ask).finally(person.close)
  if (declared === undefined) return undefined
  const isKnown = async () => (await hub.call('upstream.list')).upstreams.some(({ name }) => name === declared.name)
  for (const endAt = performance.now() + TAKEN_OVER_MS; !(await isKnown()); await sleep(100))
    if (performance.now() > endAt)
      throw new Problem(
        'config_invalid',
        'refused',
        `the hub has not taken over the upstream ${declared.name}`,
        '`hub config diff` says what is in force; then run this again',
      )
  return declared.name
}

/** Every model that the CLI calls must have a price at its upstream, or each of its calls would be refused. @throws Problem naming all that have none */
async function requirePrices({ hub }: Context, upstream: string, models: readonly string[]): Promise<void> {
  const without: string[] = []
  for (const model of models)
    try {
      await hub.call('upstream.price', { name: upstream, model })
    } catch (thrown) {
      const problem = toProblem(thrown)
      if (problem.code !== 'model_unknown') throw problem
      without.push(model)
    }
  if (without.length === 0) return
  const verbs = without.map((model) => `\`hub upstream price ${upstream} ${model} --input DOLLARS --output DOLLARS\``)
  throw new Problem(
    'model_unknown',
    'refused',
    `${without.join(', ')} ${without.length === 1 ? 'has' : 'have'} no price at the upstream ${upstream}, so each call would be refused`,
    verbs.join(', '),
  )
}

/** Files that are new, and lines of files that are there. */
async function planOf(context: Context, { name, lang, recipe, dir, resumes }: Wanted, upstream: string, model: string) {
  const { home } = context
  const facts = { name, upstream, model, arch: process.arch, resumes }
  const files = new Map([...recipe.files(facts), ['README.md', readmeText(lang, recipe, facts, dir)]])
  const config = configText(home).toString('utf8')
  const night = withNight(config, name, recipe.limits)
  const { faults } = await judge('config', home, night.after)
  if (faults.length > 0)
    throw new Problem(
      'config_invalid',
      'refused',
      `${faultsText(configFileOf(home), faults)}; nothing was written`,
      'correct it',
    )
  const dataFile = dataFileOf(home)
  const data = readFileSync(dataFile)
  const policy = readPolicy(data, dataFile)
  const row = rowOf(
    cardOf(files.get('agent.yaml') ?? ''),
    Object.hasOwn(policy.agents, name) ? policy.agents[name] : undefined,
  )
  return { files, config, night, data, dataFile, row, policy: withEntry(policy, name, row) }
}
type Plan = Awaited<ReturnType<typeof planOf>>

/** What a person agrees to with `--resume` (D-R3, docs/agents.md). */
const keptWords = (home: string): string[] => [
  'transcripts: true keeps its conversations on this machine, for the next start of the same task and nobody else:',
  `  they lie unmasked in ${path.join(home, 'transcripts')} until that task has ended, also secrets that were said in them`,
  'repeatable: true starts a task again by itself after a fall, so what it did outside may be done twice',
]

/** Line by line, as it will stand in the files. */
function show(
  { home, terminal }: Context,
  { name, folder, resumes }: Wanted,
  { files, night, dataFile, row }: Plan,
): void {
  const limits = stringify(night.limits, { collectionStyle: 'flow', lineWidth: 0 }).trim()
  const lines = [
    `${folder}/: ${[...files.keys()].join(', ')}`,
    ...[`${configFileOf(home)}:`, 'limits:', '  agents:', `    ${name}: ${limits}`],
    `${dataFile}: agents.${name}:`,
    ...Object.entries(row).map(([key, value]) => `  ${JSON.stringify(key)}: ${JSON.stringify(value)}`),
    ...(resumes ? keptWords(home) : []),
  ]
  for (const line of lines) terminal.note(line)
}

/** All of it, or nothing. @throws Problem */
async function write(context: Context, { name, folder }: Wanted, plan: Plan): Promise<void> {
  const configFile = configFileOf(context.home)
  if (configText(context.home).toString('utf8') !== plan.config)
    throw new Problem(
      'conflict',
      'refused',
      'hub.yaml was changed in the meantime; nothing was written',
      'run it again',
    )
  const isNew = !existsSync(folder)
  mkdirSync(folder, { recursive: true })
  try {
    for (const [file, text] of plan.files) writeFileSync(path.join(folder, file), text, { flag: 'wx' })
    if (plan.night.after !== plan.config) writeWhole(configFile, plan.night.after)
    const change = { before: plan.data, after: plan.policy, reason: `hub agent new ${name}`, history: true }
    await replacePolicy(context, change)
  } catch (thrown) {
    for (const file of plan.files.keys()) rmSync(path.join(folder, file), { force: true })
    if (isNew && readdirSync(folder).length === 0) rmSync(folder, { recursive: true })
    if (configText(context.home).toString('utf8') === plan.night.after) writeWhole(configFile, plan.config)
    throw thrown
  }
}

function cannotResume(lang: string, { title }: Recipe): Problem {
  const able = Object.keys(RECIPES).filter((word) => RECIPES[word]?.resume !== undefined)
  const why = `--resume is not for ${lang}: the hub keeps no conversation of ${title} for its next start`
  return usage(why, `leave --resume out, or choose ${able.join(', ')}`)
}

export async function make(context: Context, wanted: Wanted, options: Options): Promise<number> {
  const { terminal, json, hub } = context
  const { name, lang, recipe, dir, folder, resumes } = wanted
  if (resumes && recipe.resume === undefined) throw cannotResume(lang, recipe)
  // The hub checks and records the row, so it must answer before a person is asked.
  await hub.call('policy.status')
  const upstream = await upstreamOf(context, recipe, options)
  if (upstream === undefined) {
    terminal.note('nothing was written')
    return EXIT.refused
  }
  const model = textOf(options.model) ?? recipe.model
  await requirePrices(context, upstream, [...new Set([model, ...recipe.helpers])])
  const plan = await planOf(context, wanted, upstream, model)
  show(context, wanted, plan)
  if (!(await terminal.confirm('write this?', options.yes === true))) {
    terminal.note('nothing was written')
    return EXIT.refused
  }
  await write(context, wanted, plan)
  if (json)
    terminal.json({
      name,
      lang,
      folder,
      files: [...plan.files.keys()],
      upstream,
      model,
      row: plan.row,
      limits: plan.night.limits,
    })
  else
    terminal.out(
      `made ${folder}: ${[...plan.files.keys()].join(', ')}\nnext: \`hub agent build ${dir}\`, then \`${submitLine(recipe, name)}\``,
    )
  return EXIT.done
}
