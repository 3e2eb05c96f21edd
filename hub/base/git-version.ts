/** Which git is needed where a repository goes in and a branch comes out: `merge-tree --write-tree` and `cat-file -z` are of 2.38. Pure. */

export const GIT_LEAST = '2.38'

/** Why a git that says this of itself (`git --version`) cannot be used; undefined if it can. */
export function gitFault(said: string): string | undefined {
  const match = /^git version (\d+)\.(\d+)/.exec(said.trim())
  const [least = 0, minor = 0] = GIT_LEAST.split('.').map(Number)
  if (match === null) return `it does not say which version it is; ${GIT_LEAST} is needed`
  const [major, second] = [Number(match[1]), Number(match[2])]
  if (major > least || (major === least && second >= minor)) return undefined
  return `it is version ${major}.${second}, and ${GIT_LEAST} is needed`
}
