"""Migration ``m007_standing``: tables of the latest verdicts by class, and of how many trials of a cell have which.

Filters and rates of a run with a million trials cannot go through all of them while a key waits. So triggers keep two
tables up to date where rows change, which a program could forget:

- ``standing``: one row per trial and grader with the class of the latest verdict, in the order of the plan. Rows
  without a grader mark trials that graders disagree on (``disputed``) and that a person has labelled (``labelled``).
- ``tallies``: trials by arm, condition, concept, layer, strength, and class, with the stretch of the plan they lie in
  (which only ever grows). Rows without a grader count all trials, by status.

A class is the six fields of a verdict as six characters (``m009_grade_states`` gives it seven). The statements are
written out, and a test holds them byte by byte: a released migration is never edited. Append another one instead.
"""

from __future__ import annotations

STANDING = (
    """
    CREATE TABLE standing (
        run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        grader TEXT NOT NULL,
        class TEXT NOT NULL,
        ordinal INTEGER NOT NULL,
        trial INTEGER NOT NULL,
        PRIMARY KEY (run, grader, class, ordinal, trial)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE tallies (
        id INTEGER PRIMARY KEY,
        run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        grader TEXT NOT NULL,
        class TEXT NOT NULL,
        arm TEXT NOT NULL,
        condition TEXT NOT NULL,
        concept TEXT,
        layer INTEGER,
        strength REAL,
        trials INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL
    )
    """,
    # From here on by way of indices that hold every column: rows with their replies take many times as long to read.
    """
    INSERT INTO standing (run, grader, class, ordinal, trial)
    SELECT t.run, g.grader, coalesce(g.affirms, '-') || coalesce(g.identifies, '-') || \
coalesce(g.named_before_affirming, '-') || coalesce(g.coherent, '-') || coalesce(g.refuses, '-') || \
coalesce(g.abstained, '-') AS class, t.ordinal, t.id
    FROM trials t INDEXED BY trials_in_order CROSS JOIN grades g INDEXED BY grades_by_trial
        ON g.run = t.run AND g.key = t.key
    WHERE NOT EXISTS (SELECT 1 FROM grades h WHERE h.run = g.run AND h.key = g.key AND h.grader = g.grader AND \
(h.created, h.id) > (g.created, g.id)) ORDER BY t.run, g.grader, class, t.ordinal, t.id
    """,
    """
    INSERT INTO standing (run, grader, class, ordinal, trial)
    SELECT t.run, '', 'disputed', t.ordinal, t.id
    FROM (SELECT run, key FROM grades GROUP BY run, key HAVING min(grader) < max(grader)) several
    JOIN trials t ON t.run = several.run AND t.key = several.key WHERE EXISTS (SELECT 1 FROM grades g JOIN grades o \
ON o.run = g.run AND o.key = g.key AND o.grader > g.grader WHERE g.run = t.run AND g.key = t.key AND (g.affirms <> \
o.affirms OR g.identifies <> o.identifies OR g.named_before_affirming <> o.named_before_affirming OR g.coherent <> \
o.coherent OR g.refuses <> o.refuses) AND NOT EXISTS (SELECT 1 FROM grades h WHERE h.run = g.run AND h.key = g.key \
AND h.grader = g.grader AND (h.created, h.id) > (g.created, g.id)) AND NOT EXISTS (SELECT 1 FROM grades h WHERE \
h.run = o.run AND h.key = o.key AND h.grader = o.grader AND (h.created, h.id) > (o.created, o.id)))
    """,
    """
    INSERT INTO standing (run, grader, class, ordinal, trial)
    SELECT t.run, '', 'labelled', t.ordinal, t.id
    FROM (SELECT DISTINCT run, key FROM labels) some
    JOIN trials t ON t.run = some.run AND t.key = some.key WHERE EXISTS (SELECT 1 FROM labels l WHERE l.run = t.run \
AND l.key = t.key AND l.fields <> '{}' AND NOT EXISTS (SELECT 1 FROM labels m WHERE m.run = l.run AND m.key = l.key \
AND m.labeller = l.labeller AND (m.created, m.id) > (l.created, l.id)))
    """,
    """
    INSERT INTO tallies (run, grader, class, arm, condition, concept, layer, strength, trials, first, last)
    SELECT run, '', status, arm, condition, concept, layer, strength, count(*), min(ordinal), max(ordinal)
    FROM trials INDEXED BY trials_in_order GROUP BY run, status, arm, condition, concept, layer, strength
    """,
    """
    INSERT INTO tallies (run, grader, class, arm, condition, concept, layer, strength, trials, first, last)
    SELECT s.run, s.grader, s.class, t.arm, t.condition, t.concept, t.layer, t.strength, count(*), min(t.ordinal),
        max(t.ordinal)
    FROM standing s CROSS JOIN trials t INDEXED BY trials_in_order
        ON t.run = s.run AND t.ordinal = s.ordinal AND t.id = s.trial
    WHERE s.grader <> '' GROUP BY s.run, s.grader, s.class, t.arm, t.condition, t.concept, t.layer, t.strength
    """,
    """\
CREATE UNIQUE INDEX tallies_by_cell ON tallies (run, grader, class, arm, condition, coalesce(concept, ''), \
coalesce(layer, -1), coalesce(strength, ''))""",
    "CREATE INDEX trials_failed ON trials (run, ordinal) WHERE status = 'error'",
    """\
CREATE TRIGGER trials_tally_insert AFTER INSERT ON trials BEGIN INSERT INTO tallies (run, grader, class, arm, \
condition, concept, layer, strength, trials, first, last) VALUES (NEW.run, '', NEW.status, NEW.arm, NEW.condition, \
NEW.concept, NEW.layer, NEW.strength, 1, NEW.ordinal, NEW.ordinal) ON CONFLICT (run, grader, class, arm, condition, \
coalesce(concept, ''), coalesce(layer, -1), coalesce(strength, '')) DO UPDATE SET trials = trials + 1, first = \
min(first, excluded.first), last = max(last, excluded.last); END""",
    """
    CREATE TRIGGER trials_tally_update AFTER UPDATE OF status ON trials WHEN OLD.status <> NEW.status BEGIN
        UPDATE tallies SET trials = trials - 1
        WHERE run = OLD.run AND grader = '' AND class = OLD.status AND arm = OLD.arm AND condition = OLD.condition \
AND coalesce(concept, '') = coalesce(OLD.concept, '') AND coalesce(layer, -1) = coalesce(OLD.layer, -1) AND \
coalesce(strength, '') = coalesce(OLD.strength, '');
        INSERT INTO tallies (run, grader, class, arm, condition, concept, layer, strength, trials, first, last) \
VALUES (NEW.run, '', NEW.status, NEW.arm, NEW.condition, NEW.concept, NEW.layer, NEW.strength, 1, NEW.ordinal, \
NEW.ordinal) ON CONFLICT (run, grader, class, arm, condition, coalesce(concept, ''), coalesce(layer, -1), \
coalesce(strength, '')) DO UPDATE SET trials = trials + 1, first = min(first, excluded.first), last = max(last, \
excluded.last);
    END
    """,
    # A verdict that comes late, with an older date (from another store), changes nothing: hence before and now.
    """
    CREATE TRIGGER grades_stand AFTER INSERT ON grades BEGIN
        DELETE FROM standing WHERE run = NEW.run AND grader = NEW.grader AND class = (SELECT coalesce(b.affirms, \
'-') || coalesce(b.identifies, '-') || coalesce(b.named_before_affirming, '-') || coalesce(b.coherent, '-') || \
coalesce(b.refuses, '-') || coalesce(b.abstained, '-') FROM grades b WHERE b.run = NEW.run AND b.key = NEW.key AND \
b.grader = NEW.grader AND b.id <> NEW.id ORDER BY b.created DESC, b.id DESC LIMIT 1)
            AND ordinal = (SELECT ordinal FROM trials t WHERE t.run = NEW.run AND t.key = NEW.key)
            AND trial = (SELECT id FROM trials t WHERE t.run = NEW.run AND t.key = NEW.key);
        UPDATE tallies SET trials = trials - 1 WHERE id = (
            SELECT y.id FROM trials t JOIN tallies y ON y.run = NEW.run AND y.grader = NEW.grader
                AND y.class = (SELECT coalesce(b.affirms, '-') || coalesce(b.identifies, '-') || \
coalesce(b.named_before_affirming, '-') || coalesce(b.coherent, '-') || coalesce(b.refuses, '-') || \
coalesce(b.abstained, '-') FROM grades b WHERE b.run = NEW.run AND b.key = NEW.key AND b.grader = NEW.grader AND \
b.id <> NEW.id ORDER BY b.created DESC, b.id DESC LIMIT 1) AND y.arm = t.arm AND y.condition = t.condition
                AND coalesce(y.concept, '') = coalesce(t.concept, '') AND coalesce(y.layer, -1) = coalesce(t.layer, \
-1)
                AND coalesce(y.strength, '') = coalesce(t.strength, '')
            WHERE t.run = NEW.run AND t.key = NEW.key);
        INSERT INTO standing (run, grader, class, ordinal, trial)
            SELECT t.run, NEW.grader, (SELECT coalesce(b.affirms, '-') || coalesce(b.identifies, '-') || \
coalesce(b.named_before_affirming, '-') || coalesce(b.coherent, '-') || coalesce(b.refuses, '-') || \
coalesce(b.abstained, '-') FROM grades b WHERE b.run = NEW.run AND b.key = NEW.key AND b.grader = NEW.grader ORDER \
BY b.created DESC, b.id DESC LIMIT 1), t.ordinal, t.id FROM trials t WHERE t.run = NEW.run AND t.key = NEW.key;
        INSERT INTO tallies (run, grader, class, arm, condition, concept, layer, strength, trials, first, last)
            SELECT t.run, NEW.grader, (SELECT coalesce(b.affirms, '-') || coalesce(b.identifies, '-') || \
coalesce(b.named_before_affirming, '-') || coalesce(b.coherent, '-') || coalesce(b.refuses, '-') || \
coalesce(b.abstained, '-') FROM grades b WHERE b.run = NEW.run AND b.key = NEW.key AND b.grader = NEW.grader ORDER \
BY b.created DESC, b.id DESC LIMIT 1), t.arm, t.condition, t.concept, t.layer, t.strength, 1, t.ordinal,
                t.ordinal FROM trials t WHERE t.run = NEW.run AND t.key = NEW.key ON CONFLICT (run, grader, class, \
arm, condition, coalesce(concept, ''), coalesce(layer, -1), coalesce(strength, '')) DO UPDATE SET trials = trials + \
1, first = min(first, excluded.first), last = max(last, excluded.last);
    END
    """,
    """
    CREATE TRIGGER grades_dispute AFTER INSERT ON grades WHEN EXISTS (
        SELECT 1 FROM grades o WHERE o.run = NEW.run AND o.key = NEW.key AND o.grader <> NEW.grader
    ) BEGIN \

        DELETE FROM standing WHERE run = NEW.run AND grader = '' AND class = 'disputed'
            AND ordinal = (SELECT ordinal FROM trials t WHERE t.run = NEW.run AND t.key = NEW.key)
            AND trial = (SELECT id FROM trials t WHERE t.run = NEW.run AND t.key = NEW.key);
        INSERT INTO standing (run, grader, class, ordinal, trial)
            SELECT t.run, '', 'disputed', t.ordinal, t.id FROM trials t WHERE t.run = NEW.run AND t.key = NEW.key \
AND EXISTS (SELECT 1 FROM grades g JOIN grades o ON o.run = g.run AND o.key = g.key AND o.grader > g.grader WHERE \
g.run = t.run AND g.key = t.key AND (g.affirms <> o.affirms OR g.identifies <> o.identifies OR \
g.named_before_affirming <> o.named_before_affirming OR g.coherent <> o.coherent OR g.refuses <> o.refuses) AND NOT \
EXISTS (SELECT 1 FROM grades h WHERE h.run = g.run AND h.key = g.key AND h.grader = g.grader AND (h.created, h.id) > \
(g.created, g.id)) AND NOT EXISTS (SELECT 1 FROM grades h WHERE h.run = o.run AND h.key = o.key AND h.grader = \
o.grader AND (h.created, h.id) > (o.created, o.id)));
     END
    """,
    """\
CREATE TRIGGER labels_mark AFTER INSERT ON labels BEGIN \

        DELETE FROM standing WHERE run = NEW.run AND grader = '' AND class = 'labelled'
            AND ordinal = (SELECT ordinal FROM trials t WHERE t.run = NEW.run AND t.key = NEW.key)
            AND trial = (SELECT id FROM trials t WHERE t.run = NEW.run AND t.key = NEW.key);
        INSERT INTO standing (run, grader, class, ordinal, trial)
            SELECT t.run, '', 'labelled', t.ordinal, t.id FROM trials t WHERE t.run = NEW.run AND t.key = NEW.key \
AND EXISTS (SELECT 1 FROM labels l WHERE l.run = t.run AND l.key = t.key AND l.fields <> '{}' AND NOT EXISTS (SELECT \
1 FROM labels m WHERE m.run = l.run AND m.key = l.key AND m.labeller = l.labeller AND (m.created, m.id) > \
(l.created, l.id)));
     END""",
)
