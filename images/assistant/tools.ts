/** What the model may do: each tool is a description for the model and a function that the hub decides about. */
import type { HubAgent, TaskFacts } from '../../hub/client/agent.ts'
import type { Tool } from './shapes.ts'

export interface Skill extends Tool {
  run: (input: Record<string, string>) => Promise<string>
}

/** What one tool may tell the model at once: more would fill the model's context. */
const TEXT_CHARS_MAX = 100_000
const shortened = (text: string) =>
  text.length <= TEXT_CHARS_MAX
    ? text
    : `${text.slice(0, TEXT_CHARS_MAX)}\n[${text.length - TEXT_CHARS_MAX} more characters]`

function skill(name: string, description: string, fields: Record<string, string>, run: Skill['run']): Skill {
  const properties = Object.fromEntries(
    Object.entries(fields).map(([field, means]) => [field, { type: 'string', description: means }]),
  )
  const schema = { type: 'object', properties, required: Object.keys(fields), additionalProperties: false }
  return { name, description, schema, run }
}

export function skillsOf(hub: HubAgent, { inputs }: TaskFacts): Skill[] {
  const folder = inputs === null ? undefined : hub.folder(inputs)
  const files = async () => (await folder?.manifest())?.files ?? []
  return [
    skill('list_files', 'Lists the files of the input, with their sizes in bytes.', {}, async () =>
      (await files()).map(({ path, size }) => `${path} ${size}`).join('\n'),
    ),
    skill('read_file', 'Reads one file of the input as text.', { path: 'as list_files shows it' }, async ({ path }) => {
      const entry = (await files()).find((file) => file.path === path)
      if (folder === undefined || entry === undefined) throw new Error(`there is no file ${path}; list_files shows all`)
      return (await folder.read(entry, { end: Math.min(entry.size, 4 * TEXT_CHARS_MAX) })).toString('utf8')
    }),
    skill(
      'write_artifact',
      'Keeps a text as a file of the result. The same name again replaces it.',
      { name: 'a file name, such as report.md', text: 'what is in it' },
      async ({ name = '', text = '' }) => `kept ${(await hub.artifact.put(name, text)).size} bytes as ${name}`,
    ),
    skill(
      'ask_agent',
      'Gives a task to another agent, with the same input, and waits for its result.',
      { agent: 'its name', task: 'what it is to do, in full: it knows nothing of this conversation' },
      async ({ agent = '', task = '' }) => {
        const { outcome, value, error } = await hub.delegate({ agent, params: { task }, inputs })
        return JSON.stringify({ outcome, value, error })
      },
    ),
    skill(
      'ask_operator',
      'Asks the person you work for, and waits. Use it rarely.',
      { question: 'what you need to know' },
      async ({ question = '' }) => JSON.stringify(await hub.ask(question, { timeoutMs: 30 * 60_000 })),
    ),
  ].map((each) => ({ ...each, run: async (input) => shortened(await each.run(input)) }))
}
