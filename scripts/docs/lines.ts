/** The page about the driver `json-lines`. */

import { sizeWritten, spanWritten } from '../../hub/protocol/spans.ts'
import { FAREWELL_MS, RESULT_BYTES_MAX } from '../../images/agent/ending.ts'
import { LINE_BYTES_MAX } from '../../images/agent/lines.ts'
import { ID_NEEDED, VERB_NAMES, VERB_WORDS, VERBS } from '../../images/agent/verbs.ts'
import { block, code, page, table } from './markdown.ts'

/** What a program prints and reads; in a test the shim reads each line of the program. */
export const LINES_EXAMPLE = `> {"op":"task","task":"018f0000-0000-7000-8000-000000000001","attempt":1,"params":{"text":"three short words"},"deadlineMs":1764500000000}
< {"op":"progress","text":"counting","done":0,"total":1}
< {"op":"ask","id":1,"text":"May I count numbers too?"}
> {"op":"ok","id":1}
> {"op":"reply","id":1,"body":{"approved":true,"text":"yes"}}
< {"op":"result","id":2,"value":{"words":3}}
> {"op":"ok","id":2}
> {"op":"shutdown","graceMs":1000}`

/** What the program reads. */
const HEARD: readonly (readonly [op: string, fields: string, when: string])[] = [
  ['task', '`task`, `attempt`, `params`, `deadlineMs`', 'first of all: the task, and its deadline'],
  ['ok', '`id`', 'the line of that id was accepted'],
  [
    'reply',
    '`id`, `body`',
    'the answer to a `request`, a `delegate` or an `ask` of that id; of a delegate it holds `outcome`, and `value` or `error`',
  ],
  [
    'error',
    '`id` or null, `code`, `hint`; where a person is asked first, `approval`',
    'the line of that id was refused, or its answer will not come; the codes are in errors.md',
  ],
  [
    'approval',
    '`id`, `approval`, `answer`, `text`',
    'after an `error` with `approval`: the line of that id is `approved`, `rejected`, `expired` (nobody answered, a no) or `superseded` (what it stands on changed). After `approved`, print the same line again: it is admitted once. After `superseded`, print it again and a person is asked anew. `text` is what the person said',
  ],
  [
    'message',
    '`id`, `kind`, `type`, `from`, `body`, `sentAtMs`; where they are known `topic`, `correlationId`, `traceparent`, `dataClass`, `redelivered`',
    'a message for this session; one of the kind `request` waits for a `reply` with this `id` as its `correlationId`',
  ],
  [
    'budget',
    '`of`, `mark`, `spentUsd`, `limitUsd`',
    'money for calls of models runs low. `of` is the limit (`tree`, `attempt`, `agentDay`, `day`), `mark` its share that is used in per cent: 50, 80, 100, or `soft` for the soft limit of a day. The sums are in millionths of a US dollar. Each mark is told once; a call that does not fit is refused',
  ],
  [
    'quiet',
    '`why`',
    'the program has said nothing for so long that it is ended in a minute, unless any line of it comes before (`progress` or `log` will do)',
  ],
  ['shutdown', '`graceMs`', 'end now: there is this much time to finish'],
]

const fieldText = (kind: string): string => (kind.endsWith('?') ? `${kind.slice(0, -1)}, may be left out` : kind)

export const linesPage = (): string =>
  page(
    'The driver `json-lines`',
    '`images/agent/`',
    'A program in any language is an agent when it reads and writes lines. Each line on its standard input and output is one JSON object with an `op`, ended by a line feed. What it writes to standard error is its log.',
    'In this example `>` is what the program reads, `<` what it prints:',
    block('text', LINES_EXAMPLE),
    table(
      ['Limit', ''],
      [
        ['one line', `${sizeWritten(LINE_BYTES_MAX)}; a longer one is refused with \`too_large\``],
        [
          'a result that is longer',
          `up to ${sizeWritten(RESULT_BYTES_MAX)}: its value becomes the artifact \`result.json\`, and the result names it`,
        ],
        ['`id`', 'a whole number, or a text of 1 to 64 characters, of your choice'],
        ['order', 'lines are carried out one after another; the next is read once the hub has accepted the one before'],
        ['after the result', `the program has ${spanWritten(FAREWELL_MS)} to end; then it gets SIGTERM, then SIGKILL`],
      ],
    ),
    '## What a program prints',
    `A line with an \`id\` is answered by \`ok\` or \`error\`. ${ID_NEEDED.map(code).join(', ')} need one, since their answer comes later. An unknown field is refused.`,
    ...VERB_NAMES.flatMap((name) => {
      const [does, words] = VERB_WORDS[name]
      const rows = Object.entries(VERBS[name]).map(([field, kind]) => [
        code(field),
        fieldText(kind),
        words[field] ?? '',
      ])
      return [`### \`${name}\``, `It ${does}.`, table(['Field', 'Type', 'Meaning'], rows)]
    }),
    '## What a program reads',
    table(
      ['`op`', 'Fields', 'When'],
      HEARD.map(([op, fields, when]) => [code(op), fields, when]),
    ),
    'The driver `command` takes `progress`, `log` and `result` from such lines too, and answers none of them.',
  )
