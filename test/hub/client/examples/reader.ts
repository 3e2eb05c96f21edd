/** An agent that reads the files it was given, counts their words, and leaves a report. */
import type { HubAgent } from '../../../../hub/client/agent.ts'

export function register(hub: HubAgent): void {
  hub.onTask(async (task) => {
    if (task.inputs === null) throw new Error('this needs files: hub submit --input DIR')
    const { files } = await hub.folder(task.inputs).manifest()
    let words = 0
    let done = 0
    for await (const { chunks } of hub.folder(task.inputs).files()) {
      const parts: Buffer[] = []
      for await (const chunk of chunks) parts.push(chunk)
      words += Buffer.concat(parts).toString('utf8').split(/\s+/).filter(Boolean).length
      done += 1
      hub.progress({ text: 'reading', done, total: files.length })
    }
    await hub.artifact.put('report.md', `# ${words} words in ${files.length} files\n`)
    return { files: files.length, words }
  })
}
