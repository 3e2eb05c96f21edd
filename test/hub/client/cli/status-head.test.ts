/** The head of the audit log on the status screen: one of the places outside the log where it stands (X14). */
import { expect, it } from 'vitest'
import { hubSocketOf, makeHome, modeView, openFakeDoor, runHub } from '../../../support/fake-hub.ts'

it('status shows how long the audit log is, and its head', async () => {
  const { home, remove } = makeHome()
  const hub = await openFakeDoor(hubSocketOf(home))
  try {
    const head = '0123456789abcdef'.repeat(4)
    hub.on('GET /v1/health', () => ({
      body: modeView({ auditSize: 4321, auditHead: head }),
    }))
    const shown = await runHub(home, ['status'])
    expect(shown.stdout, shown.stderr).toMatch(/audit +4321 records, head 0123456789abcdef\n/)
  } finally {
    await hub.close()
    remove()
  }
})
