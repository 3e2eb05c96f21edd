/** Reads only its part of the folder; reports by messages to the session that delegated it, then returns. */
import { connect } from '../../hub/client/agent.ts'
import { chunkFindings, createAnalysis } from './analyse.ts'
import type { FindingBody, ReaderResult } from './finding.ts'

const PROGRESS_EVERY_MS = 500
const GOSSIP = { to: 'agent:echo', type: 'survey.gossip' }

const hub = await connect()

/** Tries a message that no rule allows and answers how it was refused, so that every survey leaves one denial in the audit. */
async function tryGossip(): Promise<ReaderResult['refusal']> {
  try {
    await hub.request(GOSSIP.to, GOSSIP.type, { heard: 'nothing' }, { timeoutMs: 5_000 })
    return { ...GOSSIP, code: 'accepted', detail: 'the hub let it pass' }
  } catch (thrown) {
    const { code = 'internal', message } = thrown as { code?: string; message: string }
    return { ...GOSSIP, code, detail: message }
  }
}

hub.onTask(async (task, signal): Promise<ReaderResult> => {
  const [part, first, end] = [Number(task.params.part), Number(task.params.first), Number(task.params.end)]
  if (task.inputs === null || task.parent === null) throw new Error('a reader is started by a lead, with its folder')
  if (![part, first, end].every(Number.isSafeInteger)) throw new Error('params must be {part, first, end}')
  const lead = `session:${task.parent.session}`
  const analysis = createAnalysis()
  const total = end - first
  let done = 0
  let toldAt = 0

  for await (const { entry, chunks } of hub.folder(task.inputs).files(first, end)) {
    const file = analysis.file(entry)
    for await (const chunk of chunks) {
      signal.throwIfAborted()
      file.push(chunk)
    }
    file.end()
    done += 1
    if (performance.now() - toldAt < PROGRESS_EVERY_MS && done < total) continue
    toldAt = performance.now()
    hub.progress({ text: `${done} of ${total} files`, done, total })
    // Progress for the lead; if one gets lost, the next one replaces it.
    hub.request(lead, 'survey.progress', { part, done, total }).catch(() => {})
  }

  const bodies: FindingBody[] = chunkFindings(analysis.findings()).map((chunk) => ({ part, ...chunk }))
  for (const body of bodies) await hub.request(lead, 'survey.finding', { ...body }, { timeoutMs: 60_000 })
  const refusal = part === 1 ? await tryGossip() : undefined
  return { part, messages: bodies.length, ...(refusal === undefined ? {} : { refusal }) }
})
