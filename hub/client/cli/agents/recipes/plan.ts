/** What a recipe writes beside its own files: a page for people, limits for a night into hub.yaml, a row into policy/data.json. Pure. */
import { isMap, parseDocument, Scalar } from 'yaml'
import { type AgentCard, agentCardShape } from '../../../../protocol/agent.ts'
import { firstOf, judgeYaml } from '../../../../protocol/judging.ts'
import { sizeShape, spanShape } from '../../../../protocol/spans.ts'
import { type Entry, planGrant } from '../grants.ts'
import { BUDGET, type Limits, type Recipe, type RecipeFacts } from './recipe.ts'

type LimitKey = keyof Limits

/** A limit as hub.yaml writes it, as a number; undefined for what is none. */
function amountOf(key: LimitKey, value: unknown): number | undefined {
  if (typeof value === 'number') return value
  const parsed = (key === 'ttl' ? spanShape : sizeShape).safeParse(value)
  return parsed.success ? parsed.data : undefined
}

/** hub.yaml in which this agent may have the limits of its recipe. What allows more already stays; so do all comments. */
export function withNight(
  text: string,
  name: string,
  limitsWanted: Limits,
): {
  after: string
  limits: Readonly<Record<string, unknown>>
} {
  const document = parseDocument(text)
  const place = ['limits', 'agents', name]
  const standing = document.hasIn(place) ? (document.getIn(place) as { toJSON?: () => unknown }) : undefined
  const own = (standing?.toJSON?.() ?? {}) as Record<string, unknown>
  const limits = { ...own }
  for (const [key, wanted] of Object.entries(limitsWanted) as [LimitKey, string | number][]) {
    const has = amountOf(key, own[key])
    if (has === undefined || has < (amountOf(key, wanted) ?? 0)) limits[key] = wanted
  }
  if (JSON.stringify(limits) === JSON.stringify(own)) return { after: text, limits }
  for (const path of [['limits'], ['limits', 'agents']])
    if (!isMap(document.getIn(path))) document.setIn(path, document.createNode({}))
  document.setIn(place, document.createNode(limits, { flow: true }))
  return { after: document.toString({ lineWidth: 0 }), limits }
}

/** hub.yaml without limits of this agent alone, and without maps that held nothing else; undefined where it has none. All comments stay. */
export function withoutLimits(text: string, name: string): string | undefined {
  const document = parseDocument(text)
  if (!document.hasIn(['limits', 'agents', name])) return undefined
  document.deleteIn(['limits', 'agents', name])
  for (const path of [['limits', 'agents'], ['limits']]) {
    const map = document.getIn(path)
    if (isMap(map) && map.items.length === 0) document.deleteIn(path)
  }
  // Nothing, written as nothing: `null` would be a word that nobody wrote.
  const isEmpty = isMap(document.contents) && document.contents.items.length === 0
  if (isEmpty) document.contents = Object.assign(new Scalar<unknown>(null), { source: '' }) as typeof document.contents
  return document.toString({ lineWidth: 0 })
}

/** The row of the agent: what its card asks for, and the money that coding needs. A budget that somebody wrote stays. */
export function rowOf(card: AgentCard, standing: Entry | undefined): Entry {
  const { entry } = planGrant(card, standing)
  return { ...entry, budget: standing?.budget ?? BUDGET }
}

/** The card that a recipe made. @throws Error if the hub would refuse it: a fault of the recipe */
export function cardOf(text: string): AgentCard {
  const { value, faults } = judgeYaml(text, agentCardShape)
  if (value === undefined) throw new Error(`the recipe made a card with a fault: ${firstOf(faults)}`)
  return value
}

/** What is typed to give it a task, below the folder of the work. */
export const submitLine = ({ works }: Pick<Recipe, 'works'>, name: string): string =>
  works === 'repository'
    ? `hub submit ${name} --repo . --param task="Make the tests pass"`
    : `hub submit ${name} --input . --param task="Say in report.md what these files are" --out result`

/** Of one that goes on with its conversations. */
const KEPT = `
A start after a fall goes on with the conversation of its task. It lies unmasked in the home of the hub until that task has ended: docs/agents.md of the hub, "Going on with a conversation".
`

/** The page beside the card. */
export function readmeText(
  lang: string,
  recipe: Pick<Recipe, 'title' | 'works'>,
  { name, upstream, model, resumes }: RecipeFacts,
  dir: string,
): string {
  const after =
    recipe.works === 'repository'
      ? `    hub branch diff TASK                                     # what it changed, once its task has ended
    hub branch apply TASK                                    # merges it into the branch that you are on
`
      : `                                                             # waits; its files come into ./result
`
  return `# ${name}

${recipe.title} by the recipe \`${lang}\`: \`agent.yaml\` is its card, \`image.yaml\` says what its image holds. Its model is \`${model}\`, by the upstream \`${upstream}\`.
What is switched off in it, and why: docs/reference/recipes.md of the hub.

    hub agent build ${dir}                                     # installs it on this machine, and makes its image
    ${submitLine(recipe, name)}
${after}${resumes ? KEPT : ''}`
}
