/**
 * How far something may be passed on, and what of it is written down (S1-63): on messages and artifacts, and for routing by sensitivity.
 * From the widest circle to the smallest. Of what is `restricted` only the access is written down.
 */
import { z } from 'zod'

export const DATA_CLASSES = ['public', 'internal', 'confidential', 'restricted'] as const
export type DataClass = (typeof DATA_CLASSES)[number]

export const dataClassShape = z.enum(DATA_CLASSES)

/** The one that is passed on least; undefined if none is named. Pure. */
export const strictestClass = (classes: readonly (DataClass | null | undefined)[]): DataClass | undefined =>
  DATA_CLASSES.findLast((each) => classes.includes(each))

/** As a fact for the rules, or a field of an answer: without a class there is none, and what is said stays as it always was. Pure. */
export const classFact = (dataClass: DataClass | null | undefined): { dataClass?: DataClass } =>
  dataClass === undefined || dataClass === null ? {} : { dataClass }

/**
 * Whether somebody who takes work up to this class takes work with this label (S1-73). Without a label everybody does. Who says nothing takes
 * no labelled work.
 */
export const takesClass = (upTo: DataClass | null | undefined, label: DataClass | null | undefined): boolean =>
  label === null ||
  label === undefined ||
  (upTo !== null && upTo !== undefined && DATA_CLASSES.indexOf(label) <= DATA_CLASSES.indexOf(upTo))
