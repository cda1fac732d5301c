"""Subjects that think before they answer: grading their thoughts, and counting what was noticed and what was said."""
