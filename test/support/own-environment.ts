/** Of this machine's environment nothing that Node reads: a process of ours that is given such a thing starts itself anew without it (fault F20). */
import { isReadByNode } from '../../hub/base/passed-on.ts'

for (const name of Object.keys(process.env)) if (isReadByNode(name)) delete process.env[name]
