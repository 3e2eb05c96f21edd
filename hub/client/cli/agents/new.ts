/**
 * `hub agent new`: makes a folder with a card, a program and, for TypeScript, a unit test. It runs without changes. With the word of a recipe it
 * makes a coding agent of others instead (`recipes/`).
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { EXIT, usage } from '../../problem.ts'
import type { Run } from '../context.ts'
import { CHECKOUT, checkName, refuseShipped } from './folder.ts'
import { RECIPES } from './recipes.ts'

export const LANGUAGES = ['ts', 'python', 'shell', 'cli'] as const
export type Language = (typeof LANGUAGES)[number]

const templates = fileURLToPath(new URL('../../templates', import.meta.url))
const ENDING = '.tmpl'

/** The files of a language's template by name. */
export function templateOf(lang: Language, facts: { name: string; dir: string }): Map<string, string> {
  const folder = path.join(templates, lang)
  const files = readdirSync(folder).filter((file) => file.endsWith(ENDING))
  return new Map(
    files.sort().map((file) => {
      const text = readFileSync(path.join(folder, file), 'utf8')
      return [file.slice(0, -ENDING.length), text.replaceAll('__NAME__', facts.name).replaceAll('__DIR__', facts.dir)]
    }),
  )
}

/** The name under which programs import the SDK: a link to this checkout, so that editors and Node find its real files. */
export const SDK_PACKAGE = 'hub-sdk'

/** Links the SDK into a folder whose programs import it, if the link is missing or broken, as after a clone or a move of the hub. */
export function linkSdk(folder: string): void {
  const imported = new RegExp(`['"]${SDK_PACKAGE}/`)
  const wants = readdirSync(folder).some(
    (file) => /\.(?:ts|js|mjs)$/.test(file) && imported.test(readFileSync(path.join(folder, file), 'utf8')),
  )
  const link = path.join(folder, 'node_modules', SDK_PACKAGE)
  if (!wants || existsSync(link)) return
  mkdirSync(path.dirname(link), { recursive: true })
  rmSync(link, { force: true })
  symlinkSync(path.join(CHECKOUT, 'hub', 'client'), link)
}

export const create: Run = async (context, [given = ''], options) => {
  const { json, terminal } = context
  const name = checkName(given)
  refuseShipped(name)
  const word = String(options.lang)
  const lang = LANGUAGES.find((each) => each === word)
  const recipe = Object.hasOwn(RECIPES, word) ? RECIPES[word] : undefined
  const named = (options.dir as string | undefined) ?? name
  const folder = path.resolve(named)
  if (existsSync(folder) && readdirSync(folder).length > 0) {
    throw usage(`${folder} is not empty`, 'name another place: --dir DIR')
  }
  if (recipe !== undefined) {
    const { make } = await import('./recipes/make.ts')
    return make(context, { name, lang: word, recipe, dir: named, folder, resumes: options.resume === true }, options)
  }
  if (lang === undefined) throw usage(`--lang must be one of ${[...LANGUAGES, ...Object.keys(RECIPES)].join(', ')}`)
  for (const option of ['model', 'upstream', 'resume'])
    if (options[option] !== undefined)
      throw usage(`--${option} is only for recipes: ${Object.keys(RECIPES).join(', ')}`, `leave --${option} out`)
  mkdirSync(folder, { recursive: true })
  const files = templateOf(lang, { name, dir: named })
  for (const [file, text] of files) writeFileSync(path.join(folder, file), text, { flag: 'wx' })
  linkSdk(folder)
  if (json) terminal.json({ name, lang, folder, files: [...files.keys()] })
  else
    terminal.out(`made ${folder}: ${[...files.keys()].join(', ')}\nnext: \`hub agent try ${named} --param name=Ada\``)
  return EXIT.done
}
