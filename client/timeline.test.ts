import { describe, expect, test } from 'bun:test';
import type { RoomEvent } from './frames.ts';
import { Timeline, type TimelineMessage } from './timeline.ts';

const base = { ts: 1, room: 'lobby' };

function message(seq: number, content: string | null = `m${seq}`): RoomEvent<'message'> {
  return { ...base, name: 'message', seq, from: 'ann', id: `id${seq}`, type: 'text', content, meta: null };
}

function edit(seq: number, target: number, content: string): RoomEvent<'message_edited'> {
  return { ...base, name: 'message_edited', seq, from: 'ann', target, content };
}

function react(seq: number, target: number, from: string, on = true): RoomEvent<'reaction'> {
  return { ...base, name: 'reaction', seq, from, target, emoji: '👍', on };
}

function contents(timeline: Timeline): unknown[] {
  return timeline.items.map((item) => (item as TimelineMessage).content);
}

describe('the timeline', () => {
  test('is the same in whatever order and however often the events come', () => {
    const events = [message(1), message(2), react(3, 1, 'bob'), edit(4, 2, 'new'), react(5, 1, 'bob', false)];
    const orders = [events, events.toReversed(), [...events, ...events]];
    const lists = orders.map((order) => {
      const timeline = new Timeline();
      timeline.start(0);
      for (const event of order) timeline.add(event);
      return timeline.items;
    });
    expect(lists[1]).toEqual(lists[0]!);
    expect(lists[2]).toEqual(lists[0]!);
    expect(lists[0]).toMatchObject([
      { content: 'm1', reactions: [] },
      { content: 'new', isEdited: true },
    ]);
  });

  test('applies what happened to a message when the message is loaded later', () => {
    const timeline = new Timeline();
    timeline.start(9);
    timeline.add(react(10, 5, 'bob'));
    timeline.add(react(11, 5, 'cleo'));
    timeline.addOlder({ events: [message(5)], more: false, next: null });
    expect(timeline.items).toMatchObject([{ reactions: [{ emoji: '👍', users: ['bob', 'cleo'] }] }]);
  });

  test('shows a deleted message without content, edits and reactions', () => {
    const timeline = new Timeline();
    timeline.start(0);
    for (const event of [message(1), edit(2, 1, 'x'), react(3, 1, 'bob')]) timeline.add(event);
    timeline.add({ ...base, name: 'message_deleted', seq: 4, from: 'ann', target: 1 });
    expect(timeline.items).toMatchObject([{ content: null, isEdited: false, reactions: [] }]);
  });

  test('keeps the object of a message that did not change', () => {
    const timeline = new Timeline();
    timeline.start(0);
    timeline.add(message(1));
    const [first] = timeline.items;
    timeline.add(message(2));
    expect(timeline.items[0]).toBe(first!);
    timeline.add(edit(3, 1, 'x'));
    expect(timeline.items[0]).not.toBe(first!);
  });

  test('lets go of old messages and has them again from history, with their reactions', () => {
    const timeline = new Timeline();
    timeline.start(0);
    for (let seq = 1; seq <= 10; seq++) timeline.add(message(seq));
    timeline.add(react(11, 2, 'bob'));
    timeline.trim(4);
    expect(contents(timeline)).toEqual(['m7', 'm8', 'm9', 'm10']);
    expect(timeline).toMatchObject({ floor: 7, hasOlder: true });
    timeline.addOlder({ events: [1, 2, 3, 4, 5, 6].map((seq) => message(seq)), more: false, next: null });
    expect(contents(timeline).length).toBe(10);
    expect(timeline.message(2)?.reactions).toEqual([{ emoji: '👍', users: ['bob'] }]);
  });

  test('shows what is being sent at the end until its event is there', () => {
    const timeline = new Timeline();
    timeline.start(0);
    const pending: TimelineMessage = {
      kind: 'message',
      key: 'id1',
      seq: null,
      ts: 1,
      from: 'ann',
      type: 'text',
      content: 'mine',
      meta: null,
      isEdited: false,
      reactions: [],
      state: 'sending',
      level: null,
      reach: { recipients: 0, delivered: 0, read: 0 },
      error: null,
    };
    timeline.setPending([pending]);
    expect(timeline.items).toEqual([pending]);
    timeline.add(message(1));
    expect(timeline.items).toMatchObject([{ key: 'id1', state: 'sent' }]);
  });
});
