"""The frame around the screens: errors, dialogues, help, navigation, memory."""
