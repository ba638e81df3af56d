/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports as pages of A4, drawn by cairo, with texts that pango sets: any script that a font of the machine
 * has. The report is drawn twice, first for nobody, as each page says how many there are.
 */
#include <cairo-pdf.h>
#include <fontconfig/fontconfig.h>
#include <pango/pangocairo.h>
#include <string.h>

#include "report/report_write.h"

enum { WIDTH = 595, HEIGHT = 842, MARGIN = 50, INNER = WIDTH - 2 * MARGIN, BOTTOM = HEIGHT - MARGIN - 20 };
enum { ROW = 15, CHART = 120, BARS_MAX = 10, CELL_MAX = 200 };

enum weight { PLAIN, STRONG };
enum side { LEFT, RIGHT };
enum colour { INK, GREY, LINE, ACCENT, SHADE };

struct pages {
    cairo_t *cairo;
    PangoLayout *layout;
    PangoFontDescription *fonts[2];
    const struct report_content *content;
    double y;
    int number;
    int total; /* 0: not known yet */
};

static void colour(const struct pages *pages, enum colour colour)
{
    static const double RGB[][3] = {
        {0.11, 0.14, 0.19}, {0.35, 0.39, 0.45}, {0.80, 0.83, 0.87}, {0.23, 0.44, 0.71}, {0.96, 0.97, 0.98}};
    cairo_set_source_rgb(pages->cairo, RGB[colour][0], RGB[colour][1], RGB[colour][2]);
}

/* A text in one line whose top is at `y`, cut with an ellipsis where it is wider. */
static void put(struct pages *pages, double x, double y, double width, enum side side, double size,
                enum weight weight, const char *text)
{
    char clean[CELL_MAX * 4 + 8];
    size_t length = 0;
    int characters = 0;
    for (; *text && length < sizeof(clean) - 5; text++) {
        bool begins = ((unsigned char)*text & 0xc0) != 0x80;
        if (begins && ++characters > CELL_MAX) {
            memcpy(clean + length, "\u2026", 3);
            length += 3;
            break;
        }
        clean[length++] = (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text;
    }
    clean[length] = '\0';
    pango_font_description_set_absolute_size(pages->fonts[weight], size * PANGO_SCALE);
    pango_layout_set_font_description(pages->layout, pages->fonts[weight]);
    pango_layout_set_width(pages->layout, (int)(width * PANGO_SCALE));
    pango_layout_set_alignment(pages->layout, side == RIGHT ? PANGO_ALIGN_RIGHT : PANGO_ALIGN_LEFT);
    pango_layout_set_text(pages->layout, clean, (int)length);
    cairo_move_to(pages->cairo, x, y);
    pango_cairo_show_layout(pages->cairo, pages->layout);
}

static void box(struct pages *pages, double x, double y, double width, double height, enum colour of)
{
    colour(pages, of);
    cairo_rectangle(pages->cairo, x, y, width, height);
    cairo_fill(pages->cairo);
}

/* ---- pages ---- */

static void put_foot(struct pages *pages)
{
    char text[64];
    snprintf(text, sizeof(text), "%d / %d", pages->number, pages->total);
    colour(pages, GREY);
    put(pages, MARGIN, HEIGHT - MARGIN, INNER - 80, LEFT, 8, PLAIN, pages->content->name);
    put(pages, WIDTH - MARGIN - 80, HEIGHT - MARGIN, 80, RIGHT, 8, PLAIN, text);
}

static void next_page(struct pages *pages)
{
    if (pages->number) {
        put_foot(pages);
        cairo_show_page(pages->cairo);
    }
    pages->number++;
    pages->y = MARGIN;
}

/* Whether there is room on this page; else it is on the next one. */
static bool make_room(struct pages *pages, double height)
{
    bool fits = pages->y + height <= BOTTOM;
    if (!fits) {
        next_page(pages);
    }
    return fits;
}

static void put_title(struct pages *pages)
{
    char text[160];
    colour(pages, INK);
    put(pages, MARGIN, pages->y, INNER, LEFT, 22, STRONG, pages->content->name);
    colour(pages, GREY);
    put(pages, MARGIN, pages->y + 32, INNER, LEFT, 10, PLAIN, pages->content->workspace);
    snprintf(text, sizeof(text), "%s to %s, in UTC \u00b7 made at %s", pages->content->first_day,
             pages->content->last_day, pages->content->made_at);
    put(pages, MARGIN, pages->y + 46, INNER, LEFT, 10, PLAIN, text);
    pages->y += 72;
}

/* ---- tables ---- */

static double left_of(const struct report_section *section, size_t column, double *ret_width)
{
    double first = section->columns_count > 5 ? 105 : 175;
    double other = (INNER - first) / (double)(section->columns_count - 1);
    *ret_width = (column ? other : first) - 6;
    return MARGIN + (column ? first + other * (double)(column - 1) : 0) + 3;
}

static void put_head(struct pages *pages, const struct report_section *section)
{
    double width;
    colour(pages, GREY);
    for (size_t column = 0; column < section->columns_count; column++) {
        double x = left_of(section, column, &width);
        put(pages, x, pages->y + 2, width, column ? RIGHT : LEFT, 8, STRONG, section->labels[column]);
    }
    box(pages, MARGIN, pages->y + ROW - 1, INNER, 0.7, LINE);
    pages->y += ROW;
}

static void put_table(struct pages *pages, const struct report_table *table)
{
    const struct report_section *section = table->section;
    char number[REPORT_NUMBER_SIZE];
    double width;
    put_head(pages, section);
    for (int row = 0; row < PQntuples(table->rows); row++) {
        if (!make_room(pages, ROW)) {
            put_head(pages, section);
        }
        if (row % 2) {
            box(pages, MARGIN, pages->y, INNER, ROW, SHADE);
        }
        colour(pages, INK);
        for (size_t column = 0; column < section->columns_count; column++) {
            const char *text = pg_get_text(table->rows, row, (int)column);
            double x = left_of(section, column, &width);
            put(pages, x, pages->y + 2, width, column ? RIGHT : LEFT, 8.5, PLAIN,
                column ? report_number(text, number) : text);
        }
        pages->y += ROW;
    }
}

/* ---- drawings: below zero counts as nothing, as the table says it ---- */

/* A round number that is not below `most`: 1, 2 or 5 by a power of ten. */
static double round_up(double most)
{
    static const double STEPS[] = {1, 2, 5, 10};
    double power = 1;
    while (power * 10 <= most && power < 1e300) {
        power *= 10;
    }
    while (power > most && power > 1e-300) {
        power /= 10;
    }
    for (size_t i = 0; i < sizeof(STEPS) / sizeof(*STEPS); i++) {
        if (STEPS[i] * power >= most) {
            return STEPS[i] * power;
        }
    }
    return most;
}

static void put_columns(struct pages *pages, const struct report_table *table)
{
    enum { LEGEND = 55, LINES = 4 };
    int rows = PQntuples(table->rows);
    double top = round_up(report_largest(table)), x = MARGIN + LEGEND, width = INNER - LEGEND;
    double step = width / rows;
    make_room(pages, CHART + 24);
    for (int line = 0; line <= LINES; line++) {
        char text[REPORT_NUMBER_SIZE], grouped[REPORT_NUMBER_SIZE];
        double y = pages->y + 6 + CHART - CHART * line / (double)LINES;
        box(pages, x, y, width, 0.5, LINE);
        snprintf(text, sizeof(text), top < 1e15 && top >= LINES ? "%.0f" : "%.4g", top * line / LINES);
        colour(pages, GREY);
        put(pages, MARGIN, y - 5, LEGEND - 6, RIGHT, 7, PLAIN, report_number(text, grouped));
    }
    for (int row = 0; row < rows; row++) {
        double height = report_value(table, row) / top * CHART;
        if (height > 0) {
            box(pages, x + row * step + step * 0.1, pages->y + 6 + CHART - height, step * 0.8, height,
                ACCENT);
        }
    }
    colour(pages, GREY);
    put(pages, x, pages->y + CHART + 9, width / 2, LEFT, 7, PLAIN, pg_get_text(table->rows, 0, 0));
    if (rows > 1) {
        put(pages, x + width / 2, pages->y + CHART + 9, width / 2, RIGHT, 7, PLAIN,
            pg_get_text(table->rows, rows - 1, 0));
    }
    pages->y += CHART + 24;
}

static void put_bars(struct pages *pages, const struct report_table *table)
{
    enum { LABEL = 140, NUMBER = 70 };
    int rows = PQntuples(table->rows) < BARS_MAX ? PQntuples(table->rows) : BARS_MAX;
    double most = report_largest(table), room = INNER - LABEL - NUMBER;
    char number[REPORT_NUMBER_SIZE];
    make_room(pages, rows * ROW + 8);
    for (int row = 0; row < rows; row++) {
        double length = report_value(table, row) / most * room;
        colour(pages, INK);
        put(pages, MARGIN, pages->y + 2, LABEL - 6, RIGHT, 8, PLAIN, pg_get_text(table->rows, row, 0));
        if (length > 0) {
            box(pages, MARGIN + LABEL, pages->y + 3, length, ROW - 6, ACCENT);
        }
        colour(pages, GREY);
        put(pages, MARGIN + LABEL + (length > 0 ? length : 0) + 4, pages->y + 2, NUMBER, LEFT, 8, PLAIN,
            report_number(pg_get_text(table->rows, row, 1), number));
        pages->y += ROW;
    }
    pages->y += 8;
}

static void put_section(struct pages *pages, const struct report_table *table)
{
    enum { HEADING = 26, SPACE = 20 };
    bool drawn = table->section->chart != REPORT_PLAIN && report_largest(table) > 0;
    int bars = PQntuples(table->rows) < BARS_MAX ? PQntuples(table->rows) : BARS_MAX;
    double first = !drawn ? 3 * ROW : table->section->chart == REPORT_BARS ? bars * ROW + 8 : CHART + 24;
    make_room(pages, HEADING + first); /* no heading stands alone */
    colour(pages, INK);
    put(pages, MARGIN, pages->y, INNER, LEFT, 13, STRONG, table->section->heading);
    pages->y += HEADING;
    if (drawn && table->section->chart == REPORT_COLUMNS) {
        put_columns(pages, table);
    } else if (drawn) {
        put_bars(pages, table);
    }
    if (PQntuples(table->rows)) {
        make_room(pages, 2 * ROW);
        put_table(pages, table);
    } else {
        colour(pages, GREY);
        put(pages, MARGIN, pages->y, INNER, LEFT, 9, PLAIN, "There was nothing in this period.");
        pages->y += ROW;
    }
    pages->y += SPACE;
}

/* ---- the whole ---- */

/* Returns how many pages it has; 0 when cairo failed. */
static int draw(const struct report_content *content, PangoContext *context, cairo_surface_t *surface,
                int total)
{
    struct pages pages = {.content = content, .total = total};
    pages.cairo = cairo_create(surface);
    pages.layout = pango_layout_new(context);
    pango_cairo_update_layout(pages.cairo, pages.layout);
    pages.fonts[PLAIN] = pango_font_description_from_string("DejaVu Sans");
    pages.fonts[STRONG] = pango_font_description_from_string("DejaVu Sans Bold");
    pango_layout_set_single_paragraph_mode(pages.layout, TRUE);
    pango_layout_set_ellipsize(pages.layout, PANGO_ELLIPSIZE_END);
    pango_layout_set_auto_dir(pages.layout, FALSE); /* numbers stay on their side */
    next_page(&pages);
    put_title(&pages);
    for (size_t i = 0; i < content->tables_count; i++) {
        put_section(&pages, &content->tables[i]);
    }
    put_foot(&pages);
    cairo_show_page(pages.cairo);
    bool drawn = cairo_status(pages.cairo) == CAIRO_STATUS_SUCCESS;
    pango_font_description_free(pages.fonts[PLAIN]);
    pango_font_description_free(pages.fonts[STRONG]);
    g_object_unref(pages.layout);
    cairo_destroy(pages.cairo);
    return drawn ? pages.number : 0;
}

static cairo_status_t take(void *closure, const unsigned char *data, unsigned int length)
{
    if (closure) {
        buf_append(closure, data, length);
    }
    return CAIRO_STATUS_SUCCESS;
}

bool report_write_pdf(const struct report_content *content, struct buf *out)
{
    /* Of its own, and not the thread's, which would keep all glyphs that it ever drew. */
    PangoFontMap *fonts = pango_cairo_font_map_new();
    PangoContext *context = pango_font_map_create_context(fonts);
    cairo_surface_t *nobody = cairo_pdf_surface_create_for_stream(take, NULL, WIDTH, HEIGHT);
    int total = draw(content, context, nobody, 0);
    cairo_surface_destroy(nobody);
    cairo_surface_t *surface = cairo_pdf_surface_create_for_stream(take, out, WIDTH, HEIGHT);
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_TITLE, content->name);
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATE_DATE, content->made_at);
    bool drawn = total && draw(content, context, surface, total);
    cairo_surface_finish(surface);
    drawn = drawn && cairo_surface_status(surface) == CAIRO_STATUS_SUCCESS;
    cairo_surface_destroy(surface);
    g_object_unref(context);
    g_object_unref(fonts);
    return drawn;
}

void report_write_end(void)
{
    cairo_debug_reset_static_data();
    FcFini();
}
