/**
 * A definition: a plan of steps that a person writes (YAML, `hub run NAME`). Judged whole, each fault with line, column and the word that is
 * wrong; and made into a plan. Pure.
 *
 * Its keys and limits: runs/definition-shape.ts. What a template may say: runs/template.ts.
 */
import { HubError } from '../base/errors.ts'
import { didYouMean } from '../base/nearest.ts'
import { type Fault, firstOf, judgeYaml, keyOf, type Places } from './judging.ts'
import { isBag } from './keys.ts'
import { type Definition, type DefinitionParam, type DefinitionStep, definitionShape } from './runs/definition-shape.ts'
import { type Node, orderOf, upstreamOf } from './runs/graph.ts'
import type { Plan, PlanStep, StepKind } from './runs/plan.ts'
import { type Found, type Reference, templatesIn, wordFaults } from './runs/template.ts'
import { impliedTier, isBelow, neverReruns, type StepCard, usualOnUnknown } from './runs/tiers.ts'

/** The text of one definition, in bytes of UTF-8. */
const DEFINITION_BYTES_MAX = 256 * 1024
const FAULTS_MAX = 20

export type { Definition } from './runs/definition-shape.ts'

export interface JudgedDefinition {
  /** Undefined if there are faults. */
  definition: Definition | undefined
  plan: Plan | undefined
  faults: Fault[]
}

/** What is known of the hub that is to run it; what is undefined is not judged. */
export interface Surroundings {
  /** The cards of all agents, by name. */
  cards?: ReadonlyMap<string, StepCard> | undefined
}

type Path = readonly PropertyKey[]
type Tell = (path: Path, message: string, of?: 'key' | 'value') => void

/** Every fault of a definition, in the order of its lines, twenty at most; the definition and its plan if there is none. */
export function judgeDefinition(text: string, around: Surroundings = {}): JudgedDefinition {
  const refused = (faults: Fault[]): JudgedDefinition => ({ definition: undefined, plan: undefined, faults })
  if (Buffer.byteLength(text) > DEFINITION_BYTES_MAX)
    return refused([{ line: 1, column: 1, key: '', message: `it is larger than ${DEFINITION_BYTES_MAX / 1024} KiB` }])
  const { value, given, faults, placeOf } = judgeYaml(text, definitionShape)
  if (value === undefined) return refused(faults)
  const lost = lostKeys(given, []).map(
    (path): Fault => ({ ...placeOf(path, 'key'), key: keyOf(path), message: 'is a word of the programming language' }),
  )
  const found = lost.length > 0 ? lost.slice(0, FAULTS_MAX) : meaningOf(value, around, placeOf)
  return found.length > 0 ? refused(found) : { definition: value, plan: planOf(value, around), faults: [] }
}

/** The one key that the shapes leave out without a word. */
const LOST = '__proto__'
function lostKeys(value: unknown, path: Path): Path[] {
  if (Array.isArray(value)) return value.flatMap((item, at) => lostKeys(item, [...path, at]))
  if (!isBag(value)) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    key === LOST ? [[...path, key]] : lostKeys(inner, [...path, key]),
  )
}

/** The plan of a definition. Throws `schema_invalid` with the first fault. Until runs are made, `judgeDefinition` and tests use it. */
export function readDefinition(text: string, around: Surroundings = {}): { definition: Definition; plan: Plan } {
  const { definition, plan, faults } = judgeDefinition(text, around)
  if (definition === undefined || plan === undefined) throw new HubError('schema_invalid', firstOf(faults))
  return { definition, plan }
}

/** What the keys mean together. The order matters: a graph with unknown names has no order, and templates need one. */
function meaningOf(definition: Definition, around: Surroundings, placeOf: Places): Fault[] {
  const faults: Fault[] = []
  const tell: Tell = (path, message, of = 'value') => {
    faults.push({ ...placeOf(path, of), key: keyOf(path), message })
  }
  judgeParams(definition, tell)
  judgeWhole(definition, tell)
  for (const [at, step] of definition.steps.entries()) {
    judgeKeys(step, ['steps', at], tell)
    judgeRungs(step, ['steps', at], tell)
    judgeAgents(step, ['steps', at], around, definition.definition, tell)
    judgeTier(step, ['steps', at], around, tell)
  }
  const upstream = judgeGraph(definition, tell)
  if (upstream !== undefined) judgeTemplates(definition, upstream, tell)
  return faults.sort((one, other) => one.line - other.line || one.column - other.column).slice(0, FAULTS_MAX)
}

/** Why a value is none of this parameter, or undefined. */
function valueProblem({ type, choices }: DefinitionParam, value: unknown): string | undefined {
  const is = Array.isArray(value) ? 'list' : isBag(value) ? 'map' : typeof value === 'string' ? 'text' : typeof value
  if (value === null || is !== type) return `must be of type ${type}, and is ${value === null ? 'nothing' : is}`
  if (type === 'number' && !Number.isFinite(value)) return 'must be a finite number'
  if (choices === undefined || choices.some((each) => each === value)) return undefined
  return `must be one of ${choices.join(', ')}${typeof value === 'string' ? didYouMean(value, choices.map(String)) : ''}`
}

function judgeParams({ params }: Definition, tell: Tell): void {
  for (const [name, param] of Object.entries(params)) {
    const path = ['params', name]
    if (param.choices !== undefined && param.type !== 'text' && param.type !== 'number')
      tell([...path, 'choices'], `choices are of a text or a number, and ${name} is of type ${param.type}`, 'key')
    for (const [at, choice] of (param.choices ?? []).entries()) {
      const problem = valueProblem({ ...param, choices: undefined }, choice)
      if (problem !== undefined && (param.type === 'text' || param.type === 'number'))
        tell([...path, 'choices', at], problem)
    }
    const problem = param.default === undefined ? undefined : valueProblem(param, param.default)
    if (problem !== undefined) tell([...path, 'default'], problem)
  }
}

function judgeWhole({ steps, limits, overlap, key }: Definition, tell: Tell): void {
  const { tasks } = limits
  if (tasks !== undefined && tasks < steps.length)
    tell(['limits', 'tasks'], `is ${tasks}, and there are ${steps.length} steps: each needs one try at least`)
  if (key !== undefined && overlap === undefined)
    tell(['key'], 'counts only with overlap; add overlap: queue, refuse or replace, or take it out', 'key')
}

const AGENT_KEYS = ['agent', 'needs', 'params', 'fallback', 'ifMissing', 'timeout', 'retry', 'onUnknown'] as const
const COMMAND_KEYS = ['agent', 'run', 'fallback', 'timeout', 'retry', 'onUnknown'] as const
type KindKey = (typeof AGENT_KEYS)[number] | 'run' | 'definition' | 'text'
const KIND_KEYS: Readonly<Partial<Record<StepKind, readonly KindKey[]>>> = {
  agent: AGENT_KEYS,
  research: AGENT_KEYS,
  review: AGENT_KEYS,
  implement: AGENT_KEYS,
  execute: COMMAND_KEYS,
  test: COMMAND_KEYS,
  subrun: ['definition', 'params', 'retry'],
  'plan-text': ['text'],
}
const ALL_KEYS: readonly KindKey[] = [...AGENT_KEYS, 'run', 'definition', 'text']

const isGiven = (step: DefinitionStep, key: KindKey): boolean => {
  const value = step[key]
  if (key === 'fallback') return step.fallback.length > 0
  return isBag(value) ? Object.keys(value).length > 0 : value !== undefined
}

/** What a kind needs, and what has no meaning for it. */
function judgeKeys(step: DefinitionStep, path: Path, tell: Tell): void {
  const { kind } = step
  const keys = KIND_KEYS[kind] ?? []
  for (const key of ALL_KEYS)
    if (!keys.includes(key) && isGiven(step, key)) tell([...path, key], `a step of kind ${kind} has no ${key}`, 'key')
  if (keys.includes('needs')) {
    if (step.agent === undefined && step.needs === undefined)
      tell(path, `${step.id} names no agent: say agent, or in needs what it must be able to do`)
    if (step.agent !== undefined && step.needs !== undefined)
      tell([...path, 'needs'], 'is there beside agent; say one of both', 'key')
  } else if (keys.includes('agent') && step.agent === undefined)
    tell(path, `${step.id} names no agent: its image is what the command runs in`)
  for (const key of ['run', 'definition', 'text'] as const)
    if (keys.includes(key) && step[key] === undefined) tell(path, `${step.id} is of kind ${kind} and has no ${key}`)
  if (step.text?.trim() === '') tell([...path, 'text'], 'is empty')
  if (step.ifMissing !== undefined && step.needs === undefined && keys.includes('ifMissing'))
    tell([...path, 'ifMissing'], 'counts only for a step that names needs and no agent', 'key')
}

/** Words that mean something to a shell alone. */
const SHELL_WORD = /^(?:\|{1,2}|&{1,2}|;|\d?>{1,2}(?:&\d)?|<{1,2}|\$\(.*\)|`.*`)$/

function judgeRungs(step: DefinitionStep, path: Path, tell: Tell): void {
  for (const [at, word] of (step.run ?? []).entries())
    if (SHELL_WORD.test(word))
      tell([...path, 'run', at], `${word} is a word for a shell, and none reads this; make steps of both parts`)
  for (const { at, message } of wordFaults(step.run ?? [])) tell([...path, 'run', at], message)
  const twice = step.fallback.findIndex((each, at) => each === step.agent || step.fallback.indexOf(each) < at)
  if (twice >= 0) tell([...path, 'fallback', twice], `${step.fallback[twice]} has tried it already by then`)
}

/** The names of agents that may do it, each with its place. */
const agentsOf = (step: DefinitionStep, path: Path): (readonly [Path, string])[] => [
  ...(step.agent === undefined ? [] : [[[...path, 'agent'], step.agent] as const]),
  ...step.fallback.map((name, at) => [[...path, 'fallback', at], name] as const),
  ...(step.retry?.repair === undefined
    ? []
    : [[[...path, 'retry', 'repair', 'agent'], step.retry.repair.agent] as const]),
]

function judgeAgents(step: DefinitionStep, path: Path, { cards }: Surroundings, own: string, tell: Tell): void {
  if (step.definition === own) tell([...path, 'definition'], `${own} is this definition: it would never end`)
  if (cards === undefined) return
  for (const [place, name] of agentsOf(step, path))
    if (!cards.has(name)) tell(place, `no agent is named ${name}${didYouMean(name, cards.keys())}`)
  if (step.needs === undefined || step.ifMissing !== undefined) return
  if (cardsOf(step, { cards }).length === 0)
    tell([...path, 'needs'], `no agent can do all of it: ${step.needs.join(', ')}; ifMissing: noop goes on without`)
}

/** The known cards of all agents that may do it. */
function cardsOf(step: DefinitionStep, { cards }: Surroundings): StepCard[] {
  const named = agentsOf(step, []).flatMap(([, name]) => cards?.get(name) ?? [])
  const able =
    step.needs === undefined
      ? []
      : [...(cards?.values() ?? [])].filter(({ capabilities }) =>
          step.needs?.every((each) => capabilities.includes(each)),
        )
  return [...named, ...able]
}

function judgeTier(step: DefinitionStep, path: Path, around: Surroundings, tell: Tell): void {
  const implied = impliedTier(step.kind, cardsOf(step, around))
  if (step.tier !== undefined && isBelow(step.tier, implied.tier))
    tell(
      [...path, 'tier'],
      `is ${step.tier}, and ${implied.because}, which is ${implied.tier}: a tier is never lowered; leave it out`,
    )
  const tier = step.tier ?? implied.tier
  if (step.onUnknown === 'rerun' && neverReruns(tier))
    tell(
      [...path, 'onUnknown'],
      `is rerun, and the tier is ${tier}: what it did may not be done twice; say ask or fail`,
    )
}

/** Of each step all that is before it; undefined if the graph has a fault. */
function judgeGraph({ steps }: Definition, tell: Tell): ReadonlyMap<string, ReadonlySet<string>> | undefined {
  const places = new Map<string, number>()
  let isSound = true
  const fault: Tell = (...told) => {
    isSound = false
    tell(...told)
  }
  for (const [at, { id }] of steps.entries()) {
    if (places.has(id)) fault(['steps', at, 'id'], `${id} is the id of another step already`)
    else places.set(id, at)
  }
  for (const [at, { id, after }] of steps.entries())
    for (const [n, need] of (after?.needs ?? []).entries()) {
      const place = ['steps', at, 'after', ...(after?.join === 'any' ? ['any'] : []), n]
      const isTwice = after?.needs.findIndex(({ step, of }) => step === need.step && of === need.of) !== n
      if (need.step === id) fault(place, `${id} cannot wait for itself`)
      else if (!places.has(need.step))
        fault(place, `no step is named ${need.step}${didYouMean(need.step, places.keys())}`)
      else if (isTwice) fault(place, `${need.step} is there twice`)
    }
  if (!isSound) return undefined
  const nodes: Node[] = steps.map(({ id, after }) => ({ id, before: (after?.needs ?? []).map(({ step }) => step) }))
  const ordered = orderOf(nodes)
  if ('order' in ordered) return upstreamOf(nodes, ordered.order)
  const { cycle } = ordered
  const words = cycle.map((id, at) => `${id} waits for ${cycle[(at + 1) % cycle.length]}`).join(', ')
  tell(['steps', places.get(cycle[0] ?? '') ?? 0, 'after'], `steps wait for each other in a circle: ${words}`)
  return undefined
}

/** Where a template stands decides what it may read. */
interface Reach {
  /** Steps that it may read; undefined: none at all. */
  steps: ReadonlySet<string> | undefined
  /** The step it stands in, with what that waits for. */
  own?: DefinitionStep | undefined
  /** It may read its own step: the result is there when it is put in. */
  readsOwn?: boolean
  /** It may read why the try before it failed. */
  isRepair?: boolean
}

function judgeTemplates(definition: Definition, upstream: ReadonlyMap<string, ReadonlySet<string>>, tell: Tell): void {
  const judge = (found: readonly Found[], reach: Reach) => {
    for (const { path, reference, wrong } of found) {
      const problem = wrong ?? (reference && referenceProblem(reference, definition, reach))
      if (problem !== undefined) tell(path, problem)
    }
  }
  judge(templatesIn(definition.key, ['key']), { steps: undefined })
  judge(templatesIn(definition.output, ['output']), { steps: new Set(upstream.keys()) })
  for (const [at, own] of definition.steps.entries()) {
    const path = ['steps', at]
    const steps = upstream.get(own.id) ?? new Set<string>()
    judge(templatesIn(own.params, [...path, 'params']), { steps, own })
    judge(templatesIn(own.run, [...path, 'run']), { steps, own })
    judge(templatesIn(own.text, [...path, 'text']), { steps, own })
    judge(templatesIn(own.checkpoint?.ask, [...path, 'checkpoint', 'ask']), { steps, own, readsOwn: true })
    const repair = templatesIn(own.retry?.repair?.params, [...path, 'retry', 'repair', 'params'])
    judge(repair, { steps, own, isRepair: true })
  }
}

/** Why a template may not read what it asks for, with what to change; undefined if it may. */
function referenceProblem(reference: Reference, { params, steps }: Definition, reach: Reach): string | undefined {
  const shown = `{{ ${reference.text} }}`
  if (reference.of === 'fault')
    return reach.isRepair ? undefined : `${shown} is there only in retry.repair.params; else say steps.ID.error`
  if (reference.of === 'param')
    return Object.hasOwn(params, reference.name)
      ? undefined
      : `${shown}: there is no parameter ${reference.name}${didYouMean(reference.name, Object.keys(params))}`
  const { step: id } = reference
  const { own } = reach
  if (reach.steps === undefined) return `${shown}: here only parameters can be read`
  const names = steps.map((each) => each.id)
  if (!names.includes(id)) return `${shown}: no step is named ${id}${didYouMean(id, names)}`
  if (own === undefined) return undefined
  if (id === own.id)
    return reach.readsOwn ? undefined : `${shown}: ${id} cannot read itself; its result is not there before it ends`
  if (!reach.steps.has(id))
    return `${shown}: ${own.id} does not wait for ${id}; add ${id} to its after, or its result may not be there`
  const needs = (own.after?.needs ?? []).filter(({ step }) => step === id)
  const onlyFailed = own.after?.join === 'all' && needs.length > 0 && needs.every(({ of }) => of === 'failed')
  return onlyFailed && reference.of === 'value'
    ? `${shown}: ${own.id} runs only if ${id} failed, and then it has no value; read steps.${id}.error`
    : undefined
}

/** A sound definition as a plan. */
function planOf(definition: Definition, around: Surroundings): Plan {
  const { limits, maxParallel, onFailure, output, steps } = definition
  const ordered = orderOf(steps.map(({ id, after }) => ({ id, before: (after?.needs ?? []).map(({ step }) => step) })))
  const byId = new Map(steps.map((step) => [step.id, step]))
  const order = 'order' in ordered ? ordered.order : []
  return {
    definition: definition.definition,
    onFailure,
    limits: { timeMs: limits.time, tasks: limits.tasks ?? 3 * steps.length, usdMicro: limits.usd },
    maxParallel,
    steps: order.flatMap((id) => stepOf(byId.get(id), around) ?? []),
    output,
  }
}

function stepOf(step: DefinitionStep | undefined, around: Surroundings): PlanStep | undefined {
  if (step === undefined) return undefined
  const { id, kind, agent, params, run, definition, text, after, optional, fallback, checkpoint, rollback } = step
  const cards = cardsOf(step, around)
  const tier = step.tier ?? impliedTier(kind, cards).tier
  const { retry } = step
  return {
    ...{ id, kind, agent, needs: step.needs ?? [], params, run, definition, text, optional, fallback, rollback, tier },
    after: after?.needs ?? [],
    join: after?.join ?? 'all',
    noopIfMissing: step.ifMissing === 'noop',
    timeoutMs: step.timeout,
    onUnknown: step.onUnknown ?? usualOnUnknown(tier, cards),
    retry: { max: retry?.max ?? 0, delayMs: retry?.delay ?? 0, repair: retry?.repair },
    checkpoint: checkpoint && {
      ask: checkpoint.ask,
      timeoutMs: checkpoint.timeout,
      onTimeout: checkpoint.onTimeout,
    },
  }
}

/** The values of one run: what it was given and the defaults. Throws `schema_invalid` naming the parameter. Until runs are made, only tests call it. */
export function paramsOf({ params }: Definition, given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  for (const name of Object.keys(given))
    if (!Object.hasOwn(params, name))
      throw new HubError('schema_invalid', `there is no parameter ${name}${didYouMean(name, Object.keys(params))}`)
  return Object.fromEntries(
    Object.entries(params).map(([name, param]) => {
      const value = Object.hasOwn(given, name) ? given[name] : param.default
      if (value === undefined)
        throw new HubError('schema_invalid', `the parameter ${name} is missing: --param ${name}=VALUE`)
      const problem = valueProblem(param, value)
      if (problem !== undefined) throw new HubError('schema_invalid', `the parameter ${name} ${problem}`)
      return [name, value]
    }),
  )
}
