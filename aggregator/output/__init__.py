"""Answers for people and programs: tables, CSV, JSON and pictures. Nothing here knows where the rows came from."""
