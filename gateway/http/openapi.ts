// /openapi.json: every route as OpenAPI 3.1, from the same schemas that check the requests.

import type { TObject, TSchema } from '@sinclair/typebox';
import { Type } from '@sinclair/typebox';
import { errors } from '../../core/protocol/codes.ts';
import type { Route } from './route.ts';

const ErrorBody = Type.Object({
  error: Type.Object({
    code: Type.Union(Object.keys(errors).map((code) => Type.Literal(code))),
    message: Type.String(),
    fields: Type.Optional(Type.Record(Type.String(), Type.String())),
  }),
});

export function describeRoutes(routes: readonly Route[], version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:([a-z_]+)/g, '{$1}');
    paths[path] ??= {};
    paths[path][route.method.toLowerCase()] = describeRoute(route);
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Parley', version, description: 'Chat over HTTP; the live side is the WebSocket at /ws.' },
    paths,
    components: {
      schemas: { Error: ErrorBody },
      responses: {
        Error: {
          description: 'A refusal, or a fault.',
          content: json({ $ref: '#/components/schemas/Error' }),
        },
      },
      securitySchemes: { token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
    },
  };
}

function describeRoute({
  method,
  path,
  summary,
  auth,
  params,
  query,
  body,
  answers,
}: Route): Record<string, unknown> {
  return {
    summary,
    operationId: `${method.toLowerCase()}${path.replaceAll(/[/:]+([a-z0-9_]+)/g, (_, word: string) => `_${word}`)}`,
    ...(auth && { security: [{ token: [] }] }),
    parameters: [...describeParameters(params, 'path'), ...describeParameters(query, 'query')],
    ...(body && { requestBody: { required: hasRequired(body), content: json(body) } }),
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, schema]) => [status, describeAnswer(schema)]),
      ),
      default: { $ref: '#/components/responses/Error' },
    },
  };
}

function describeParameters(schema: TObject, place: 'path' | 'query'): Record<string, unknown>[] {
  return Object.entries(schema.properties).map(([name, property]) => ({
    name,
    in: place,
    required: place === 'path' || (schema.required ?? []).includes(name),
    schema: property,
  }));
}

function describeAnswer(schema: TSchema | null): Record<string, unknown> {
  if (schema === null) return { description: 'Done.' };
  const content = schema.type === 'string' ? { 'text/plain': { schema } } : json(schema);
  return { description: 'Done.', content };
}

const json = (schema: unknown) => ({ 'application/json': { schema } });

function hasRequired(body: TSchema): boolean {
  return ((body.required as readonly string[] | undefined) ?? []).length > 0;
}
