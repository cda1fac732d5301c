"""Migration ``m009_grade_states``: a grade says whether it was scored, and how near the word is that names the concept.

Before, a grade held ``abstained``, and one whose grader had failed was told by how its reason began. The table is made
anew (SQLite before 3.35 drops no column), and with it what ``standing`` and ``tallies`` hold by class: a class is now
the five yes-no fields, the first letter of the state and the last letter of the naming level
(``mlxintro.store.searching.verdict_code``). The statements are written out, and a test holds them byte by byte: a
released migration is never edited. Append another one instead.
"""

from __future__ import annotations

GRADE_STATES = (
    """
    CREATE TABLE grades_with_state (
        id INTEGER PRIMARY KEY,
        run TEXT NOT NULL,
        key TEXT NOT NULL,
        grader TEXT NOT NULL,
        version TEXT NOT NULL,
        affirms INTEGER,
        identifies INTEGER,
        named_before_affirming INTEGER,
        coherent INTEGER,
        refuses INTEGER,
        naming TEXT CHECK (naming IN ('exact', 'close', 'category')),
        state TEXT NOT NULL CHECK (state IN ('scored', 'abstained', 'unscored')),
        created TEXT NOT NULL,
        reason TEXT NOT NULL,
        evidence TEXT,
        raw TEXT,
        FOREIGN KEY (run, key) REFERENCES trials (run, key) ON DELETE CASCADE
    )
    """,
    """
    INSERT INTO grades_with_state (id, run, key, grader, version, affirms, identifies, named_before_affirming, coherent,
        refuses, state, created, reason, evidence, raw)
    SELECT id, run, key, grader, version, affirms, identifies, named_before_affirming, coherent, refuses,
        CASE WHEN substr(reason, 1, 12) = 'not graded: ' THEN 'unscored' WHEN abstained THEN 'abstained'
            ELSE 'scored' END,
        created, CASE WHEN substr(reason, 1, 12) = 'not graded: ' THEN substr(reason, 13) ELSE reason END, evidence, raw
    FROM grades ORDER BY id
    """,
    "DROP TABLE grades",
    "ALTER TABLE grades_with_state RENAME TO grades",
    """
    CREATE INDEX grades_by_trial ON grades (run, key, grader, created, affirms, identifies, named_before_affirming,
                                            coherent, refuses, state, naming)
    """,
    "DELETE FROM standing WHERE grader <> ''",
    "DELETE FROM tallies WHERE grader <> ''",
    # By way of indices that hold every column: rows with their replies take many times as long to read.
    """
    INSERT INTO standing (run, grader, class, ordinal, trial)
    SELECT t.run, g.grader,
        coalesce(g.affirms, '-') || coalesce(g.identifies, '-') ||
        coalesce(g.named_before_affirming, '-') || coalesce(g.coherent, '-') || coalesce(g.refuses, '-') ||
        substr(g.state, 1, 1) || coalesce(substr(g.naming, -1), '-') AS class,
        t.ordinal, t.id
    FROM trials t INDEXED BY trials_in_order CROSS JOIN grades g INDEXED BY grades_by_trial
        ON g.run = t.run AND g.key = t.key
    WHERE NOT EXISTS (SELECT 1 FROM grades h WHERE h.run = g.run AND h.key = g.key AND h.grader = g.grader
        AND (h.created, h.id) > (g.created, g.id))
    ORDER BY t.run, g.grader, class, t.ordinal, t.id
    """,
    """
    INSERT INTO tallies (run, grader, class, arm, condition, concept, layer, strength, trials, first, last)
    SELECT s.run, s.grader, s.class, t.arm, t.condition, t.concept, t.layer, t.strength, count(*), min(t.ordinal),
        max(t.ordinal)
    FROM standing s CROSS JOIN trials t INDEXED BY trials_in_order
        ON t.run = s.run AND t.ordinal = s.ordinal AND t.id = s.trial
    WHERE s.grader <> '' GROUP BY s.run, s.grader, s.class, t.arm, t.condition, t.concept, t.layer, t.strength
    """,
    # A verdict that comes late, with an older date (from another store), changes nothing: hence before and now.
    """
    CREATE TRIGGER grades_stand AFTER INSERT ON grades BEGIN
        DELETE FROM standing WHERE run = NEW.run AND grader = NEW.grader
            AND class = (SELECT
                coalesce(b.affirms, '-') || coalesce(b.identifies, '-') ||
                coalesce(b.named_before_affirming, '-') || coalesce(b.coherent, '-') || coalesce(b.refuses, '-') ||
                substr(b.state, 1, 1) || coalesce(substr(b.naming, -1), '-')
                FROM grades b WHERE b.run = NEW.run AND b.key = NEW.key AND b.grader = NEW.grader AND b.id <> NEW.id
                ORDER BY b.created DESC, b.id DESC LIMIT 1)
            AND ordinal = (SELECT ordinal FROM trials t WHERE t.run = NEW.run AND t.key = NEW.key)
            AND trial = (SELECT id FROM trials t WHERE t.run = NEW.run AND t.key = NEW.key);
        UPDATE tallies SET trials = trials - 1 WHERE id = (
            SELECT y.id FROM trials t JOIN tallies y ON y.run = NEW.run AND y.grader = NEW.grader
                AND y.class = (SELECT
                    coalesce(b.affirms, '-') || coalesce(b.identifies, '-') ||
                    coalesce(b.named_before_affirming, '-') || coalesce(b.coherent, '-') || coalesce(b.refuses, '-') ||
                    substr(b.state, 1, 1) || coalesce(substr(b.naming, -1), '-')
                    FROM grades b WHERE b.run = NEW.run AND b.key = NEW.key AND b.grader = NEW.grader AND b.id <> NEW.id
                    ORDER BY b.created DESC, b.id DESC LIMIT 1)
                AND y.arm = t.arm AND y.condition = t.condition
                AND coalesce(y.concept, '') = coalesce(t.concept, '')
                AND coalesce(y.layer, -1) = coalesce(t.layer, -1)
                AND coalesce(y.strength, '') = coalesce(t.strength, '')
            WHERE t.run = NEW.run AND t.key = NEW.key);
        INSERT INTO standing (run, grader, class, ordinal, trial)
            SELECT t.run, NEW.grader, (SELECT
                coalesce(b.affirms, '-') || coalesce(b.identifies, '-') ||
                coalesce(b.named_before_affirming, '-') || coalesce(b.coherent, '-') || coalesce(b.refuses, '-') ||
                substr(b.state, 1, 1) || coalesce(substr(b.naming, -1), '-')
                FROM grades b WHERE b.run = NEW.run AND b.key = NEW.key AND b.grader = NEW.grader
                ORDER BY b.created DESC, b.id DESC LIMIT 1),
                t.ordinal, t.id
            FROM trials t WHERE t.run = NEW.run AND t.key = NEW.key;
        INSERT INTO tallies (run, grader, class, arm, condition, concept, layer, strength, trials, first, last)
            SELECT t.run, NEW.grader, (SELECT
                coalesce(b.affirms, '-') || coalesce(b.identifies, '-') ||
                coalesce(b.named_before_affirming, '-') || coalesce(b.coherent, '-') || coalesce(b.refuses, '-') ||
                substr(b.state, 1, 1) || coalesce(substr(b.naming, -1), '-')
                FROM grades b WHERE b.run = NEW.run AND b.key = NEW.key AND b.grader = NEW.grader
                ORDER BY b.created DESC, b.id DESC LIMIT 1),
                t.arm, t.condition, t.concept, t.layer, t.strength, 1, t.ordinal, t.ordinal
            FROM trials t WHERE t.run = NEW.run AND t.key = NEW.key
            ON CONFLICT (run, grader, class, arm, condition, coalesce(concept, ''), coalesce(layer, -1),
            coalesce(strength, '')) DO UPDATE SET trials = trials + 1, first = min(first, excluded.first),
            last = max(last, excluded.last);
    END
    """,
    """
    CREATE TRIGGER grades_dispute AFTER INSERT ON grades WHEN EXISTS (
        SELECT 1 FROM grades o WHERE o.run = NEW.run AND o.key = NEW.key AND o.grader <> NEW.grader
    ) BEGIN
        DELETE FROM standing WHERE run = NEW.run AND grader = '' AND class = 'disputed'
            AND ordinal = (SELECT ordinal FROM trials t WHERE t.run = NEW.run AND t.key = NEW.key)
            AND trial = (SELECT id FROM trials t WHERE t.run = NEW.run AND t.key = NEW.key);
        INSERT INTO standing (run, grader, class, ordinal, trial)
            SELECT t.run, '', 'disputed', t.ordinal, t.id FROM trials t
            WHERE t.run = NEW.run AND t.key = NEW.key AND EXISTS (
                SELECT 1 FROM grades g JOIN grades o ON o.run = g.run AND o.key = g.key AND o.grader > g.grader
                WHERE g.run = t.run AND g.key = t.key AND (g.affirms <> o.affirms OR g.identifies <> o.identifies
                    OR g.named_before_affirming <> o.named_before_affirming OR g.coherent <> o.coherent
                    OR g.refuses <> o.refuses)
                AND NOT EXISTS (SELECT 1 FROM grades h WHERE h.run = g.run AND h.key = g.key AND h.grader = g.grader
                    AND (h.created, h.id) > (g.created, g.id))
                AND NOT EXISTS (SELECT 1 FROM grades h WHERE h.run = o.run AND h.key = o.key AND h.grader = o.grader
                    AND (h.created, h.id) > (o.created, o.id)));
    END
    """,
)
