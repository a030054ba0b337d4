// What fields a value of a schema may have: of a union, those of any of its members.

import { z } from "zod";

/** The schemas of a field; none if there is no such field. */
export function followField(schemas: readonly z.ZodType[], name: string): z.ZodType[] {
  return schemas.flatMap(membersOf).flatMap((schema) => {
    if (schema instanceof z.ZodObject)
      return Object.hasOwn(schema.shape, name) ? [schema.shape[name] as z.ZodType] : [];
    if (schema instanceof z.ZodRecord) return [schema.valueType as z.ZodType];
    if (schema instanceof z.ZodArray) return /^\d+$/.test(name) ? [schema.element as z.ZodType] : [];
    return [];
  });
}

/** The names that are known; those of a record and of an array are not. */
export function fieldsOf(schemas: readonly z.ZodType[]): string[] {
  const names = schemas
    .flatMap(membersOf)
    .flatMap((schema) => (schema instanceof z.ZodObject ? Object.keys(schema.shape) : []));
  return [...new Set(names)];
}

function membersOf(schema: z.ZodType): z.ZodType[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault) return membersOf(schema.unwrap() as z.ZodType);
  if (schema instanceof z.ZodUnion) return (schema.options as z.ZodType[]).flatMap(membersOf);
  return [schema];
}
